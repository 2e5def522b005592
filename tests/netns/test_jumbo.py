"""Jumbo frames through a real router: chunks of 4,096 octets, and an MTU near what XDP takes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import pytest

from lab.topology import CLIENT1, CLIENT2, HOST4, PORT4, PORT6
from lab.transfer import download, random_file, serve
from tests.netns.conftest import LENT1, LENT2
from tests.netns.echoes import Form
from tests.netns.gateway import Gateway, no_ping, pings

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.netns

MTU: Final = 3480
TUNNEL_MTU: Final = MTU - 40
VETH_XDP_MTU: Final = (
    3506  # a page less 256 of headroom, the Ethernet header, 320 of skb_shared_info
)
SIZE: Final = 4 << 20
LARGEST: Final = Form(size=TUNNEL_MTU - 28, whole=True)  # less the IPv4 and the ICMP header
WHOLE: Final = frozenset({"ENCAPSULATED", "DECAPSULATED", "HAIRPINNED"})
JUMBO: Final = {"[umem]": "[umem]\nchunk_size = 4096", "[tunnel]": f"[tunnel]\nmtu = {MTU}"}


@pytest.fixture(scope="module", params=["native-copy", "generic", "packet_mmap"])
def jumbo(request: pytest.FixtureRequest) -> Iterator[Gateway]:
    with Gateway(mode=request.param, changes=JUMBO, mtu=MTU) as gateway:
        gateway.start_router()
        lab = gateway.topology
        for space, lent, client6 in ((lab.client1, LENT1, CLIENT1), (lab.client2, LENT2, CLIENT2)):
            gateway.bind(lent, client6)
            gateway.start_client(space, lent, client6, "--mtu", str(TUNNEL_MTU))
        yield gateway


def fates(gateway: Gateway, before: dict[str, int]) -> set[str]:
    """Verdicts that have come since."""
    return {name for name, packets in gateway.verdicts().items() if packets != before[name]}


def test_pings_with_df_pass_in_one_piece_up_to_the_tunnels_mtu(jumbo: Gateway) -> None:
    lab, before = jumbo.topology, jumbo.verdicts()
    assert pings(lab.client1, HOST4, form=LARGEST) == 5
    assert pings(lab.host4, LENT1, form=LARGEST) == 5
    assert pings(lab.client2, LENT1, form=LARGEST) == 5
    assert fates(jumbo, before) == WHOLE
    larger = LARGEST._replace(size=LARGEST.size + 1)
    with jumbo.counting("DROP_TOO_BIG", 1):
        assert no_ping(lab.host4, LENT1, 1, larger)
    assert pings(lab.host4, LENT1, form=LARGEST) == 5


def test_tcp_passes_in_segments_of_that_size(jumbo: Gateway, tmp_path: Path) -> None:
    lab = jumbo.topology
    content = random_file(tmp_path / "file", SIZE)
    from_host4 = serve(lab.host4, tmp_path, HOST4)
    serve(lab.client2, tmp_path, "0.0.0.0")
    before = jumbo.verdicts()
    assert download(lab.client1, f"{from_host4}/file", tmp_path / "got1") == content
    packets = jumbo.verdicts()["ENCAPSULATED"] - before["ENCAPSULATED"]
    assert packets < 1.2 * SIZE / (TUNNEL_MTU - 52), "segments are smaller than the tunnel takes"
    assert download(lab.host4, f"http://{LENT2}:8080/file", tmp_path / "got2") == content
    assert download(lab.client1, f"http://{LENT2}:8080/file", tmp_path / "got3") == content
    assert fates(jumbo, before) == WHOLE
    assert {worker["missing"] for worker in jumbo.ledgers()} == {0}


@pytest.mark.parametrize("mode", ["native-copy", "auto"])
def test_where_the_mtu_is_too_large_for_xdp_in_the_driver(mode: str) -> None:
    with Gateway(mode=mode, changes=JUMBO, mtu=VETH_XDP_MTU + 2) as gateway:
        if mode == "auto":
            gateway.start_router()
            ports = gateway.control.call("ports")["ports"]
            assert {queue["mode"] for port in ports for queue in port["queues"]} == {"generic"}
            said = gateway.log.read_text()
        else:
            code, said = gateway.run_router(gateway.router_toml)
            assert code == 1
        for port in (PORT6, PORT4) if mode == "auto" else (PORT6,):
            reason = "the MTU is too large for XDP there"
            assert f"attach XDP program to {port}, native: {reason}" in said


def test_a_link_with_larger_packets_than_a_chunk_holds_is_one_line() -> None:
    with Gateway(mtu=3480) as gateway:
        code, said = gateway.run_router(gateway.router_toml)
        assert code == 1
        assert said.splitlines()[-1] == (
            "dstm-router: [[port]] #1 port6: MTU 3480, expected at most 1774 with [umem] "
            "chunk_size = 2048: ip link set dev port6 mtu 1774"
        )
