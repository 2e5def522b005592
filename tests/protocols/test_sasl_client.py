from __future__ import annotations

import dataclasses

import pytest

from dstmrouter.errors import DecodeError
from dstmrouter.protocols.sasl_client import Told
from tests.protocols.tsp_samples import ALL, credential


@pytest.mark.parametrize(
    ("offered", "chosen"),
    [
        (ALL, "SCRAM-SHA-256"),
        (("PLAIN", "DIGEST-MD5"), "DIGEST-MD5"),
        (("PLAIN", "ANONYMOUS"), None),
        ((), None),
    ],
)
def test_the_best_mechanism_is_taken(offered: tuple[str, ...], chosen: str | None) -> None:
    found = credential().mechanism(offered)
    assert (found[0] if found is not None else None) == chosen


def test_a_password_is_not_shown_to_everybody() -> None:
    for allowed in (credential(plain=True), dataclasses.replace(credential(), private=True)):
        found = allowed.mechanism(("PLAIN",))
        assert found is not None
        assert found[1].start() == b"\0ann\0pencil"
        assert "pencil" not in repr(allowed)


def test_nobody_and_certificates() -> None:
    nobody = credential(None).mechanism(ALL)
    assert nobody is not None
    assert (nobody[0], nobody[1].start()) == ("ANONYMOUS", None)
    certified = dataclasses.replace(credential(), certificate=True)
    assert certified.mechanism(ALL) is None
    assert certified.mechanism(("EXTERNAL",)) is not None


def test_nothing_is_told_twice() -> None:
    with pytest.raises(DecodeError):
        Told(b"x").step(b"")
