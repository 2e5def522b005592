from __future__ import annotations

import pytest
import zmq

from dstmrouter.errors import DecodeError
from dstmrouter.zmqctl.peer import Peer


def frames(*contents: bytes) -> list[zmq.Frame]:
    return [zmq.Frame(content) for content in contents]


def test_dealer_and_req_get_their_envelope_back() -> None:
    assert Peer.of(frames(b"id", b"message")) == Peer((b"id",))
    assert Peer.of(frames(b"id", b"", b"message")) == Peer((b"id", b""))


@pytest.mark.parametrize("contents", [(b"id", b"x", b"m"), (b"id", b"", b"", b"m")])
def test_more_frames_are_malformed(contents: tuple[bytes, ...]) -> None:
    with pytest.raises(DecodeError, match="expected one frame"):
        Peer.of(frames(*contents))


def test_key_speaks_for_its_own_name_only() -> None:
    assert Peer((b"id",), "r1").may_speak_for("r1")
    assert not Peer((b"id",), "r1").may_speak_for("r2")
    assert Peer((b"id",), None).may_speak_for("r2")
