"""Sections: frozen, strict, and the checks that several files share."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from pydantic import ValidationError

from dstmrouter.config.load import load_router
from dstmrouter.config.model import CurveConfig, CurvePeer, curve_misfits, repeated
from dstmrouter.config.router import UmemConfig
from tests.config.documents import KEY, ROUTER, problems

if TYPE_CHECKING:
    from pathlib import Path


def test_sections_are_frozen() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        UmemConfig().frames = 3


def test_repeated_names_the_first_holder() -> None:
    assert list(repeated(["a", "b", "a", "b", "a"], ("feed",), "server")) == [
        (("feed", 2, "server"), "another value than #1 has"),
        (("feed", 3, "server"), "another value than #2 has"),
        (("feed", 4, "server"), "another value than #1 has"),
    ]


def test_curve_is_needed_for_the_network_only() -> None:
    curve = CurveConfig.model_validate({"secret_key_file": "/key"})
    assert list(curve_misfits(None, ["ipc:///a"])) == []
    assert list(curve_misfits(curve, ["tcp://*:1"])) == []
    assert list(curve_misfits(None, ["ipc:///a", "tcp://*:1"])) == [
        (("curve",), "a [curve] section with secret_key_file, because of tcp://*:1")
    ]


def test_one_key_for_two_peers(tmp_path: Path) -> None:
    peers = "".join(
        f'[[curve.allowed]]\nname = "{name}"\npublic_key = "{KEY}"\n' for name in ("a", "b")
    )
    document = f'{ROUTER}[curve]\nsecret_key_file = "/key"\n{peers}'
    (line,) = problems(load_router, tmp_path / "r.toml", document)
    assert line == (
        f'[[curve.allowed]] #2 public_key = "{KEY}": expected another value than #1 has'
    )


def test_peers_are_values() -> None:
    assert CurvePeer(name="a", public_key=KEY) == CurvePeer(name="a", public_key=KEY)
