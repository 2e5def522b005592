"""Which frames are ours: both flavours run by the kernel over a matrix of frames."""

from __future__ import annotations

import os
from ipaddress import IPv4Network, IPv6Address
from typing import TYPE_CHECKING, NamedTuple

import pytest

from dstmrouter.io.afxdp import XskConfig, XskSocket
from dstmrouter.io.steering import SteeringMaps, XskMap, load_tc, load_xdp
from dstmrouter.io.uapi import TcAction, XdpAction
from dstmrouter.io.umem import Umem
from tests.io.frames import US, ethernet, ipv4, ipv6

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from dstmrouter.io.bpf import Program
    from tests.io.conftest import Veth

pytestmark = [
    pytest.mark.netns,
    pytest.mark.skipif(os.geteuid() != 0, reason="loading BPF programs needs root"),
]
TEP6, OTHER6 = "2001:db8:f::1", "2001:db8:f::2"
IPV4, IPV6 = 0x0800, 0x86DD
VLAN = 5


class Steering:
    """Programs of both flavours, without and with a VLAN, and a socket on queue 0."""

    def __init__(self, near: str) -> None:
        self.maps = SteeringMaps()
        self.maps.set_tep6([IPv6Address(TEP6), IPv6Address("2001:db8:f::53")])
        self.maps.set_pools([IPv4Network("198.51.100.64/26"), IPv4Network("203.0.113.7/32")])
        self.xsks = XskMap.create()
        self.umem = Umem(64)
        self.sock = XskSocket.open(near, 0, self.umem, XskConfig())
        self.xsks.set(0, self.sock.fileno())
        self.xdp = {vlan: load_xdp(self.maps, self.xsks, vlan) for vlan in (None, VLAN)}
        self.tc = {vlan: load_tc(self.maps, vlan) for vlan in (None, VLAN)}
        self.several = [
            (load_xdp(self.maps, self.xsks, *vlans), load_tc(self.maps, *vlans))
            for vlans in ((VLAN, 7), (7, None, VLAN))
        ]

    def xdp_ours(self, frame: bytes, vlan: int | None) -> bool:
        """Whether the XDP flavour takes `frame`."""
        return _decide(self.xdp[vlan], frame, XdpAction.REDIRECT, XdpAction.PASS)

    def ours(self, frame: bytes, vlan: int | None = None) -> bool:
        """Whether `frame` is the router's; both flavours must agree."""
        xdp = self.xdp_ours(frame, vlan)
        tc = _decide(self.tc[vlan], frame, TcAction.SHOT, TcAction.UNSPEC)
        assert xdp == tc
        return xdp

    def close(self) -> None:
        """Close all of it."""
        for owner in (self.sock, self.umem, self.xsks, self.maps):
            owner.close()
        several = [program for pair in self.several for program in pair]
        for program in (*self.xdp.values(), *self.tc.values(), *several):
            program.close()

    def several_take(self, number: int, frame: bytes) -> bool:
        """Whether the programs for several VLANs take `frame`."""
        xdp, tc = self.several[number]
        taken = _decide(xdp, frame, XdpAction.REDIRECT, XdpAction.PASS)
        assert taken == _decide(tc, frame, TcAction.SHOT, TcAction.UNSPEC)
        return taken


def _decide(program: Program, frame: bytes, yes: int, no: int) -> bool:
    run = program.run(frame)
    assert run.action in {yes, no}
    assert run.frame == frame
    return run.action == yes


@pytest.fixture
def steering(veth: Callable[[str], Veth]) -> Iterator[Steering]:
    made = Steering(veth("p").near)
    yield made
    made.close()


class Case(NamedTuple):
    """A packet, and how many octets of it (from its IP header) the decision needs."""

    ethertype: int
    packet: bytes
    ours: bool
    needs: int = 0


CASES = {
    "tunnel": Case(IPV6, ipv6(TEP6, 4, ipv4("198.51.100.70")), True, 40),
    "fragment": Case(IPV6, ipv6(TEP6, 44), True, 40),
    "destination options": Case(IPV6, ipv6(TEP6, 60), True, 40),
    "hop-by-hop options": Case(IPV6, ipv6(TEP6, 0), True, 40),
    "second tep6": Case(IPV6, ipv6("2001:db8:f::53", 4), True, 40),
    "error 1": Case(IPV6, ipv6(TEP6, 58, b"\x01" + bytes(50)), True, 41),
    "error 4": Case(IPV6, ipv6(TEP6, 58, b"\x04" + bytes(50)), True, 41),
    "error 0": Case(IPV6, ipv6(TEP6, 58, b"\x00" + bytes(50)), False),
    "error 5": Case(IPV6, ipv6(TEP6, 58, b"\x05" + bytes(50)), False),
    "echo request": Case(IPV6, ipv6(TEP6, 58, b"\x80" + bytes(50)), False),
    "neighbour solicitation": Case(IPV6, ipv6(TEP6, 58, b"\x87" + bytes(50)), False),
    "TCP to tep6": Case(IPV6, ipv6(TEP6, 6), False),
    "UDP to tep6": Case(IPV6, ipv6(TEP6, 17), False),
    "routing header": Case(IPV6, ipv6(TEP6, 43), False),
    "tunnel to another": Case(IPV6, ipv6(OTHER6, 4), False),
    "error to another": Case(IPV6, ipv6(OTHER6, 58, b"\x01" + bytes(50)), False),
    "before the pool": Case(IPV4, ipv4("198.51.100.63", bytes(20)), False),
    "first of the pool": Case(IPV4, ipv4("198.51.100.64", bytes(20)), True, 20),
    "last of the pool": Case(IPV4, ipv4("198.51.100.127", bytes(20)), True, 20),
    "after the pool": Case(IPV4, ipv4("198.51.100.128", bytes(20)), False),
    "a pool of one": Case(IPV4, ipv4("203.0.113.7", bytes(20)), True, 20),
    "beside a pool of one": Case(IPV4, ipv4("203.0.113.6", bytes(20)), False),
    "ARP": Case(0x0806, bytes(28), False),
    "IPv4 under a wrong ethertype": Case(0x86DC, ipv4("198.51.100.70", bytes(40)), False),
}


@pytest.mark.parametrize("name", CASES)
def test_matrix(steering: Steering, name: str) -> None:
    ethertype, packet, ours, _ = CASES[name]
    assert steering.ours(ethernet(ethertype, packet)) is ours
    assert steering.ours(ethernet(ethertype, packet, vid=VLAN), VLAN) is ours


@pytest.mark.parametrize(
    ("vid", "vlan", "ours"),
    [
        (None, None, True),
        (0, None, True),  # priority-tagged
        (VLAN, None, False),
        (None, VLAN, False),
        (0, VLAN, False),
        (VLAN, VLAN, True),
        (VLAN + 1, VLAN, False),
        (0x800 | VLAN, VLAN, False),  # all twelve bits count
    ],
)
def test_a_port_has_one_vlan_or_none(
    steering: Steering, vid: int | None, vlan: int | None, ours: bool
) -> None:
    for name in ("tunnel", "error 1", "first of the pool"):
        ethertype, packet, *_ = CASES[name]
        assert steering.ours(ethernet(ethertype, packet, vid=vid), vlan) is ours


def test_a_second_tag_is_the_kernels(steering: Steering) -> None:
    inner = ethernet(IPV4, ipv4("203.0.113.7"), vid=VLAN)[12:]  # from its tag on
    for vid in (0, VLAN):
        twice = US + US + bytes.fromhex("8100") + vid.to_bytes(2, "big") + inner
        assert not steering.ours(twice, None if vid == 0 else VLAN)
    service_tag = US + US + bytes.fromhex("88a8") + inner[2:]
    assert not steering.ours(service_tag, VLAN)


@pytest.mark.parametrize("vid", [None, VLAN])
@pytest.mark.parametrize("name", [name for name, case in CASES.items() if case.ours])
def test_truncated_frames_are_the_kernels(steering: Steering, name: str, vid: int | None) -> None:
    ethertype, packet, _, needs = CASES[name]
    frame = ethernet(ethertype, packet, vid=vid)
    link = len(frame) - len(packet)
    # The kernel refuses to run a TC program on an untagged IP packet without its whole header.
    both_from = 15 if vid is not None else link + (40 if ethertype == IPV6 else 20)
    for length in range(15, len(frame) + 1):
        run = steering.ours if length >= both_from else steering.xdp_ours
        assert run(frame[:length], vid) is (length >= link + needs), length


@pytest.mark.parametrize("dst", ["ffffffffffff", "01005e000001", "333300000001"])
def test_frames_to_a_group_are_the_kernels(steering: Steering, dst: str) -> None:
    for name in ("tunnel", "first of the pool"):
        ethertype, packet, *_ = CASES[name]
        assert not steering.ours(ethernet(ethertype, packet, dst=bytes.fromhex(dst)))


def test_without_a_socket_on_the_queue_frames_are_the_kernels(steering: Steering) -> None:
    frame = ethernet(IPV4, ipv4("203.0.113.7"))
    assert steering.xdp[None].run(frame).action == XdpAction.REDIRECT
    steering.sock.close()
    assert steering.xdp[None].run(frame).action == XdpAction.PASS


def test_a_pool_of_everything(steering: Steering) -> None:
    steering.maps.set_pools([IPv4Network("0.0.0.0/0")])
    for dst in ("0.0.0.0", "127.255.255.255", "128.0.0.0", "255.255.255.255"):
        assert steering.ours(ethernet(IPV4, ipv4(dst)))


@pytest.mark.parametrize(("vid", "tagged", "both"), [(VLAN, 1, 1), (7, 1, 1), (8, 0, 0)])
def test_several_vlans_on_one_interface(
    steering: Steering, vid: int, tagged: int, both: int
) -> None:
    frame = ethernet(IPV4, ipv4("203.0.113.7", bytes(24)), vid=vid)
    assert [steering.several_take(number, frame) for number in (0, 1)] == [tagged, both]


@pytest.mark.parametrize("vid", [None, 0])
def test_untagged_beside_vlans(steering: Steering, vid: int | None) -> None:
    frame = ethernet(IPV4, ipv4("203.0.113.7", bytes(24)), vid=vid)
    assert [steering.several_take(number, frame) for number in (0, 1)] == [False, True]
