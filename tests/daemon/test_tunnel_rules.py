"""What the options of [tunnel] and [reassembly] mean for workers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from dstmrouter.config.load import load_router
from dstmrouter.daemon.tunnel_rules import identity, tunnel_rules
from dstmrouter.pipeline.rules import ReassemblyRules, TunnelRules
from tests.config.documents import ROUTER, edited, problems

if TYPE_CHECKING:
    from pathlib import Path


def rules(path: Path, tunnel: str = "", reassembly: str = "") -> TunnelRules:
    text = edited(ROUTER, "[tunnel]", f"[tunnel]\n{tunnel}")
    (path / "r.toml").write_text(f"{text}\n[reassembly]\n{reassembly}")
    return tunnel_rules(load_router(path / "r.toml"))


def test_nothing_unusual_is_the_default(tmp_path: Path) -> None:
    found = rules(tmp_path)
    assert (found.ecn_copied, found.df_strict, found.fragment_inner) == (True, True, False)
    assert (found.encapsulation_limit, found.mss) == (None, None)
    assert (found.overhead, found.tunnel_mtu) == (40, 1460)
    assert found.reassembly == ReassemblyRules(frames=16384 // 8)


@pytest.mark.parametrize(
    ("line", "field", "value"),
    [
        ('ecn = "compatibility"', "ecn_copied", False),
        ('df_policy = "ignore"', "df_strict", False),
        ('fragment = "inner"', "fragment_inner", True),
        ("encapsulation_limit = 0", "tunnel_mtu", 1452),
        ("mss_clamp = true", "mss", 1420),
        ("mss_clamp = true\nencapsulation_limit = 4", "mss", 1412),
        ("mss_clamp = true\nmtu = 1280", "mss", 1200),
        ("mss_clamp = 1300", "mss", 1300),
        ("mss_clamp = false", "mss", None),
    ],
)
def test_options(tmp_path: Path, line: str, field: str, value: Any) -> None:
    assert getattr(rules(tmp_path, line), field) == value


def test_limits_of_reassembly(tmp_path: Path) -> None:
    lines = "timeout_s = 30\nframes = 99\nper_client = 2\nper_datagram = 3"
    wanted = ReassemblyRules(timeout_s=30, frames=99, per_client=2, per_datagram=3)
    assert rules(tmp_path, reassembly=lines).reassembly == wanted


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        (
            "mss_clamp = 100",
            "[tunnel] mss_clamp = 100: "
            "expected true, false or an integer between 536 and 3782 (octets)",
        ),
        (
            'mss_clamp = "on"',
            '[tunnel] mss_clamp = "on": '
            "expected true, false or an integer between 536 and 3782 (octets)",
        ),
        (
            "encapsulation_limit = 256",
            "[tunnel] encapsulation_limit = 256: expected an integer between 0 and 255",
        ),
        (
            "[reassembly]\nframes = 5000",
            "[reassembly] frames = 5000: expected at most 4096, a quarter of [umem] frames",
        ),
    ],
)
def test_what_is_wrong_is_said(tmp_path: Path, line: str, problem: str) -> None:
    spoiled = edited(ROUTER, "[[pool]]", f"{line}\n[[pool]]")
    assert problems(load_router, tmp_path / "r.toml", spoiled) == [problem]


def test_every_start_of_a_worker_has_a_secret_of_its_own() -> None:
    one, other = identity(1, 4), identity(1, 4)
    assert (one.number, one.workers) == (1, 4)
    assert one.seed != other.seed
    assert len(one.seed) >= 16
