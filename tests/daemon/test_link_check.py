from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from dstmrouter.config.load import load_router
from dstmrouter.daemon.link_check import check_links
from dstmrouter.errors import DstmError
from dstmrouter.io.kernelobjects import Link
from tests.config.documents import ROUTER, edited

if TYPE_CHECKING:
    from pathlib import Path

    from dstmrouter.config.router import RouterConfig

TWO_PORTS = '[[port]]\ninterface = "eth1"\nvlan = 7\n'


@pytest.fixture
def config(tmp_path: Path, request: pytest.FixtureRequest) -> RouterConfig:
    """Two ports, and what the test puts into the file."""
    text = edited(ROUTER, "[[pool]]", f"{request.param}\n{TWO_PORTS}[[pool]]")
    (tmp_path / "router.toml").write_text(text)
    return load_router(tmp_path / "router.toml")


def links(*mtus: int) -> dict[int, Link]:
    return {n: Link(n + 2, "eth", bytes(6), mtu, up=True) for n, mtu in enumerate(mtus)}


@pytest.mark.parametrize(
    ("config", "mtus"),
    [("", (1500, 1774)), ("mtu = 1774", (1500, 1774)), ("mtu = 1280", (1500, 1280))],
    indirect=["config"],
)
def test_what_fits(config: RouterConfig, mtus: tuple[int, int]) -> None:
    check_links(config, links(*mtus))


@pytest.mark.parametrize(
    ("config", "mtus", "said"),
    [
        ("", (1500,), "[[port]] #2 eth1.7: no such interface"),
        (
            "",
            (1500, 9000),
            "[[port]] #2 eth1.7: MTU 9000, expected at most 1774 with [umem] chunk_size = 2048: "
            "ip link set dev eth1.7 mtu 1774",
        ),
        (
            "mtu = 3480\n[umem]\nchunk_size = 4096",
            (3823, 3480),
            "[[port]] #1 eth0: MTU 3823, expected at most 3822 with [umem] chunk_size = 4096: "
            "ip link set dev eth0 mtu 3822",
        ),
        (
            "mtu = 1540",
            (1500, 1500),
            "[tunnel] mtu = 1540: expected at most 1500, the largest MTU of a port",
        ),
    ],
    indirect=["config"],
)
def test_what_does_not(config: RouterConfig, mtus: tuple[int, ...], said: str) -> None:
    with pytest.raises(DstmError) as refused:
        check_links(config, links(*mtus))
    assert str(refused.value) == said
