"""Which frames the filter lets a packet socket have: the same as the other flavours take.

The kernel has no test run for socket filters that begins at the Ethernet header, so frames are sent
over a veth pair. It delivers before `send` returns.
"""

from __future__ import annotations

import os
import socket
from contextlib import ExitStack
from ipaddress import IPv4Network, IPv6Address
from typing import TYPE_CHECKING

import pytest

from dstmrouter.io.packetmmap import PacketMmapConfig, PacketMmapPort
from dstmrouter.io.steering import SteeringMaps, load_filter
from dstmrouter.io.uapi_packet import SO_ATTACH_BPF
from dstmrouter.io.umem import Umem
from tests.io.conftest import ETH_P_ALL, wait_for
from tests.io.frames import THEM, US, ethernet, ipv4
from tests.io.test_steering_program import CASES, IPV4, TEP6, VLAN

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.io.conftest import Veth

pytestmark = [
    pytest.mark.netns,
    pytest.mark.skipif(os.geteuid() != 0, reason="loading BPF programs needs root"),
]


class Filtered:
    """Packet sockets at the near end, one filtered for untagged frames and one for a VLAN."""

    def __init__(self, pair: Veth, undo: ExitStack) -> None:
        self.maps = undo.enter_context(SteeringMaps())
        self.maps.set_tep6([IPv6Address(TEP6), IPv6Address("2001:db8:f::53")])
        self.maps.set_pools([IPv4Network("198.51.100.64/26"), IPv4Network("203.0.113.7/32")])
        self._tap = undo.enter_context(pair.tap())
        self._socks: dict[int | None, socket.socket] = {}
        for vlan in (None, VLAN):
            self._socks[vlan] = undo.enter_context(socket.socket(socket.AF_PACKET, socket.SOCK_RAW))
            with load_filter(self.maps, vlan) as program:  # the socket keeps it
                self._socks[vlan].setsockopt(socket.SOL_SOCKET, SO_ATTACH_BPF, program.fileno())
            self._socks[vlan].bind((pair.near, ETH_P_ALL))
            self._socks[vlan].setblocking(False)

    def takes(self, frame: bytes, vlan: int | None = None) -> bool:
        """Whether the socket for `vlan` gets this frame, whole but for a tag."""
        self._tap.send(frame)
        got = {}
        for number, sock in self._socks.items():
            try:
                got[number] = sock.recv(65536)
            except BlockingIOError:
                got[number] = b""
        assert got[vlan] in {b"", frame, frame[:12] + frame[16:]}
        return bool(got[vlan])


@pytest.fixture
def filtered(veth: Callable[[str], Veth]) -> Iterator[Filtered]:
    with ExitStack() as undo:
        yield Filtered(veth("f"), undo)


@pytest.mark.parametrize("name", CASES)
def test_matrix(filtered: Filtered, name: str) -> None:
    ethertype, packet, ours, _ = CASES[name]
    assert filtered.takes(ethernet(ethertype, packet)) is ours
    assert filtered.takes(ethernet(ethertype, packet, vid=VLAN), VLAN) is ours


@pytest.mark.parametrize(
    ("vid", "vlan", "ours"),
    [
        (0, None, True),  # priority-tagged
        (VLAN, None, False),
        (None, VLAN, False),
        (0, VLAN, False),
        (0x800 | VLAN, VLAN, False),
    ],
)
def test_a_port_has_one_vlan_or_none(
    filtered: Filtered, vid: int | None, vlan: int | None, ours: bool
) -> None:
    for name in ("tunnel", "error 1", "first of the pool"):
        ethertype, packet, *_ = CASES[name]
        assert filtered.takes(ethernet(ethertype, packet, vid=vid), vlan) is ours


def test_a_second_tag_is_the_kernels(filtered: Filtered) -> None:
    inner = ethernet(IPV4, ipv4("203.0.113.7"), vid=VLAN)[12:]  # from its tag on
    for vid in (0, VLAN):
        twice = US + THEM + bytes.fromhex("8100") + vid.to_bytes(2, "big") + inner
        assert not filtered.takes(twice, None if vid == 0 else VLAN)


@pytest.mark.parametrize("vid", [None, VLAN])
@pytest.mark.parametrize("name", [name for name, case in CASES.items() if case.ours])
def test_truncated_frames_are_the_kernels(filtered: Filtered, name: str, vid: int | None) -> None:
    ethertype, packet, _, needs = CASES[name]
    frame = ethernet(ethertype, packet, vid=vid)
    link = len(frame) - len(packet)
    for length in range(link, len(frame) + 1):
        assert filtered.takes(frame[:length], vid) is (length >= link + needs), length


@pytest.mark.parametrize("dst", ["ffffffffffff", "01005e000001", "333300000001"])
def test_frames_to_a_group_are_the_kernels(filtered: Filtered, dst: str) -> None:
    for name in ("tunnel", "first of the pool"):
        ethertype, packet, *_ = CASES[name]
        assert not filtered.takes(ethernet(ethertype, packet, dst=bytes.fromhex(dst)))


def test_a_port_gets_nothing_else(veth: Callable[[str], Veth]) -> None:
    pair, umem = veth("p"), Umem(64)
    ours, other = (ethernet(IPV4, ipv4(dst, bytes(40))) for dst in ("203.0.113.7", "203.0.113.8"))
    with ExitStack() as undo:
        undo.callback(umem.close)
        maps = undo.enter_context(SteeringMaps())
        maps.set_pools([IPv4Network("203.0.113.7/32")])
        program = undo.enter_context(load_filter(maps, None))
        config = PacketMmapConfig(block_size=1 << 16, blocks=32, filter_fd=program.fileno())
        port = PacketMmapPort.open(pair.near, umem, config)
        undo.callback(port.close)
        tap = undo.enter_context(pair.tap())
        port.refill(umem.pool.take(32))
        for frame in (other, ours, other, ours):
            tap.send(frame)
        lengths: list[int] = []

        def both() -> bool:
            lengths.extend(port.receive(16)["len"].tolist())
            return len(lengths) >= 2

        wait_for(both, "our two frames")
        assert lengths == [len(ours), len(ours)]
        assert port.statistics()["packets"] == 2
