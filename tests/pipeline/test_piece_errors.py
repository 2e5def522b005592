"""ICMPv6 errors about fragments (RFC 8200 section 4.5; R19)."""

from __future__ import annotations

import dataclasses
import struct
from typing import TYPE_CHECKING

import pytest

from tests import oracle
from tests.pipeline import worlds
from tests.pipeline.machine import Machine
from tests.pipeline.outer_pieces import INNER, piece

if TYPE_CHECKING:
    from tests.oracle import Fate


def message_in(sent: Fate, about: bytes) -> tuple[int, int, int]:
    """Type, code and pointer of an error that quotes `about`; its checksum was checked."""
    assert sent.port == worlds.ACCESS
    assert sent.frame is not None
    assert sent.frame[:6] == about[6:12]
    packet = sent.frame[14:]
    assert packet[8:24] == worlds.TEP6.packed
    assert packet[24:40] == worlds.CLIENTS6[1].packed
    message = packet[40:]
    assert message[8:] == about[14:][: 1280 - 48]
    pseudo = packet[8:40] + struct.pack("!II", len(message), 58)
    assert oracle.checksum(pseudo + message) == 0
    kind, code, _, pointer = struct.unpack_from("!BBHI", message)
    return kind, code, pointer


@pytest.mark.parametrize(
    ("frame", "kind", "code", "pointer"),
    [
        (piece(bytes(60), 80, more=True), 4, 0, 4),  # to the payload length
        (piece(bytes(16), 65528), 4, 0, 42),  # to the fragment offset
        (piece(INNER[:16], more=True), 4, 3, 0),
    ],
)
def test_r19_clients_are_told_what_is_wrong(
    frame: bytes, kind: int, code: int, pointer: int
) -> None:
    router = Machine(worlds.world())
    router.run([frame], worlds.ACCESS, worlds.NOW_S, remember=True)
    (sent,) = router.made
    assert sent.verdict == "SENT_PIECE_PROBLEM"
    assert message_in(sent, frame) == (kind, code, pointer)


def test_r19_no_error_about_overlaps_and_to_strangers() -> None:
    router = Machine(worlds.world())
    burst = [
        piece(INNER[:800], more=True),
        piece(INNER[:808], more=True),
        piece(bytes(60), 80, more=True, src=worlds.CLIENTS6[8]),
    ]
    router.run(burst, worlds.ACCESS, worlds.NOW_S, remember=True)
    assert router.made == []


@pytest.mark.parametrize(("offset", "told"), [(0, True), (800, False)])
def test_r19_time_exceeded_only_if_the_first_piece_came(offset: int, *, told: bool) -> None:
    router = Machine(worlds.world())
    frame = piece(INNER[offset : offset + 800], offset, more=offset == 0)
    router.run([frame], worlds.ACCESS, worlds.NOW_S, remember=True)
    router.expire(worlds.NOW_S + 60)
    assert router.ended == ["DROP_PIECE_TIMEOUT"]
    assert [sent.verdict for sent in router.made] == ["SENT_PIECE_TIMEOUT"] * told
    for sent in router.made:
        assert message_in(sent, frame) == (3, 1, 0)


def test_r19_no_more_than_the_limit_of_errors() -> None:
    router = Machine(worlds.world(icmp=dataclasses.replace(worlds.ICMP, burst_limit=3)))
    burst = [piece(bytes(60), 80, more=True, ident=n) for n in range(30)]
    found = router.run(burst, worlds.ACCESS, worlds.NOW_S, remember=True)
    assert {fate.verdict for fate in found} == {"DROP_PIECE_LENGTH"}
    assert len(router.made) == 3
