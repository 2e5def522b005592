"""Receiving over a real veth pair; the parts have tests without one."""

from __future__ import annotations

import select
import socket
from contextlib import ExitStack, closing
from pathlib import Path

import pytest
from scapy.layers.inet import IP, TCP, UDP
from scapy.layers.l2 import Ether

from dstmrouter.io.packetmmap import PacketMmapConfig, PacketMmapPort
from dstmrouter.io.umem import XDP_PACKET_HEADROOM, Umem
from tests.io.packet_fixtures import (
    SIZES,
    SMALL,
    Worker,
    contents,
    far,
    frame,
    ip,
    needs_root,
    on_one_cpu,
    port,
    raw_socket,
    umem,
    until,
    veth,
)

__all__ = ["far", "port", "umem", "veth"]  # fixtures
pytestmark = [pytest.mark.netns, needs_root]


def test_received_packets_lie_behind_the_headroom(
    port: PacketMmapPort, umem: Umem, far: socket.socket
) -> None:
    worker = Worker(umem, port)
    far.send(frame(1, 60))
    assert select.select([port], [], [], 10) == ([port], [], [])
    descs = worker.receive(port)
    assert contents(umem, descs) == [frame(1, 60)]
    assert (descs["addr"] % umem.chunk_size).tolist() == [XDP_PACKET_HEADROOM]
    assert select.select([port], [], [], 0) == ([], [], [])


def test_contents_order_and_sizes_through_many_turns_of_the_ring(
    port: PacketMmapPort, umem: Umem, far: socket.socket
) -> None:
    worker = Worker(umem, port)
    for turn in range(4 * SMALL.blocks):  # each takes a block at least
        sent = [frame(turn * 100 + i, size) for i, size in enumerate(SIZES)]
        for each in sent:
            far.send(each)
        assert worker.receive_all(port, len(sent)) == sent
    assert port.statistics()["drops"] == 0


def test_packets_wait_in_the_ring_while_there_are_no_frames(
    port: PacketMmapPort, umem: Umem, far: socket.socket
) -> None:
    sent = [frame(i, 60) for i in range(10)]
    for each in sent:
        far.send(each)
    select.select([port], [], [], 10)
    assert len(port.receive(64)) == 0
    assert port.statistics()["no_frame"] == 1
    port.refill(umem.pool.take(4))
    first: list[bytes] = []

    def frames_used() -> bool:
        first.extend(contents(umem, port.receive(64)))
        return len(first) == 4

    until(frames_used, "as many packets as frames")
    assert first == sent[:4]
    assert len(port.receive(64)) == 0
    worker = Worker(umem)
    worker.ports, worker.burst = (port,), 4
    worker.refill(port)
    assert worker.receive_all(port, 6) == sent[4:]
    assert port.statistics()["drops"] == 0


def test_a_full_ring_drops_and_counts(port: PacketMmapPort, umem: Umem, far: socket.socket) -> None:
    count = 2 * SMALL.blocks * SMALL.block_size // 1514
    with on_one_cpu():
        for i in range(count):
            far.send(frame(i, 1514))
    until(lambda: port.statistics()["packets"] == count, "all packets counted")
    drops = port.statistics()["drops"]
    assert 0 < drops < count
    assert port.statistics()["freezes"] > 0
    worker = Worker(umem, port)
    got = worker.receive_all(port, count - drops)
    assert got == [frame(i, 1514) for i in range(len(got))]


def test_slow_traffic_waits_for_a_worker_that_is_busy_elsewhere(
    veth: tuple[str, str], umem: Umem, far: socket.socket
) -> None:
    """Each packet has a block of its own then; 64 of them were too few for a worker's start."""
    with closing(PacketMmapPort.open(veth[0], umem, PacketMmapConfig())) as port:
        blocks = port._receiver._blocks

        def handed_over() -> int:
            return sum(blocks.is_ours(number) for number in range(blocks.blocks))

        sent = [frame(number, 60) for number in range(200)]
        for number, each in enumerate(sent):
            far.send(each)
            until(lambda number=number: handed_over() == number + 1, "a block")  # type: ignore[misc]
        assert Worker(umem, port).receive_all(port, len(sent)) == sent
        assert port.statistics()["drops"] == 0


def test_own_packets_are_not_received(
    port: PacketMmapPort, umem: Umem, far: socket.socket, veth: tuple[str, str]
) -> None:
    worker = Worker(umem, port)
    with raw_socket(veth[0]) as other:
        other.send(frame(1, 60))  # leaves through our interface
    assert far.recv(2048) == frame(1, 60)
    far.send(frame(2, 60))
    assert worker.receive_all(port, 1) == [frame(2, 60)]


def test_each_packet_goes_to_one_port_of_a_fanout_group(
    veth: tuple[str, str], umem: Umem, far: socket.socket
) -> None:
    config = PacketMmapConfig(block_size=1 << 16, blocks=200, fanout_group=1, fill_slots=100)
    with ExitStack() as undo:
        ports = [
            undo.enter_context(closing(PacketMmapPort.open(veth[0], umem, config)))
            for _ in range(2)
        ]
        worker = Worker(umem, *ports)
        macs = {"src": "02:00:00:00:00:01", "dst": "02:00:00:00:00:02"}
        sent = [
            bytes(Ether(**macs) / IP(src=f"192.0.2.{i}", dst="198.51.100.1") / UDP() / bytes(30))
            for i in range(100)
        ]
        for each in sent * 2:
            far.send(each)
        got: list[list[bytes]] = [[], []]

        def all_received() -> bool:
            for i, each in enumerate(ports):
                got[i] += worker.take_contents(each)
            return sum(map(len, got)) >= 200

        until(all_received, "200 packets")
        assert sorted(got[0] + got[1]) == sorted(sent * 2)
        assert all(got), "one port got everything"
        assert not set(got[0]) & set(got[1]), "a flow changed its port"


@pytest.mark.parametrize("tci", [0, 7, 0x6FFF])
def test_a_vlan_tag_is_kept(port: PacketMmapPort, umem: Umem, far: socket.socket, tci: int) -> None:
    tagged = frame(1, 1500)[:12] + b"\x81\x00" + tci.to_bytes(2, "big") + frame(1, 1500)[12:]
    plain = frame(2, 70)
    worker = Worker(umem, port)
    for each in (tagged, plain, tagged):
        far.send(each)
    assert worker.receive_all(port, 3) == [tagged, plain, tagged]


def test_two_vlan_tags_are_kept(port: PacketMmapPort, umem: Umem, far: socket.socket) -> None:
    double = frame(1, 60)[:12] + b"\x88\xa8\x00\x05\x81\x00\x00\x06" + frame(1, 60)[12:]
    far.send(double)
    assert Worker(umem, port).receive_all(port, 1) == [double]


@pytest.mark.parametrize("size", [0, 1, 2, 999, 1000])
def test_checksums_left_to_the_device_are_finished(
    port: PacketMmapPort, umem: Umem, veth: tuple[str, str], size: int
) -> None:
    for family, router, host in (
        ("-4", "192.0.2.1", "192.0.2.2"),
        ("-6", "2001:db8::1", "2001:db8::2"),
    ):
        if family == "-6":
            Path("/proc/sys/net/ipv6/conf/far/disable_ipv6").write_text("0")
        length = "24" if family == "-4" else "64"
        nodad = [] if family == "-4" else ["nodad"]
        ip("address", "add", f"{host}/{length}", "dev", veth[1], *nodad)
        ip(family, "neigh", "add", router, "lladdr", "02:00:00:00:00:09", "dev", veth[1])
        kind = socket.AF_INET if family == "-4" else socket.AF_INET6
        with socket.socket(kind, socket.SOCK_DGRAM) as sock:
            sock.sendto(bytes(range(256)) * 4 if size == 1000 else b"\xa5" * size, (router, 4711))
    worker = Worker(umem, port)
    got: list[bytes] = []

    def both() -> bool:
        got.extend(p for p in worker.take_contents(port) if b"\x12\x67" in p[36:38] + p[56:58])
        return len(got) == 2

    until(both, "two UDP packets")
    for packet in got:
        parsed = Ether(packet)
        found = parsed[UDP].chksum
        del parsed[UDP].chksum
        assert Ether(bytes(parsed))[UDP].chksum == found
    assert port.statistics()["checksums_finished"] >= 2


def test_tcp_through_the_port_arrives_with_right_checksums(
    veth: tuple[str, str], umem: Umem, port: PacketMmapPort
) -> None:
    """A SYN of the kernel's TCP, whose checksum is left to the device."""
    ip("address", "add", "192.0.2.2/24", "dev", veth[1])
    ip("neigh", "add", "192.0.2.1", "lladdr", "02:00:00:00:00:09", "dev", veth[1])
    worker = Worker(umem, port)
    with socket.socket() as sock:
        sock.setblocking(False)
        assert sock.connect_ex(("192.0.2.1", 80)) != 0
        packet = worker.receive_all(port, 1)[0]
    parsed = Ether(packet)
    found = parsed[TCP].chksum
    del parsed[TCP].chksum
    assert Ether(bytes(parsed))[TCP].chksum == found


def test_packets_that_nobody_has_cut_are_counted_and_dropped(
    port: PacketMmapPort, umem: Umem, far: socket.socket, veth: tuple[str, str]
) -> None:
    for end in veth:
        ip("link", "set", end, "mtu", "9000")
    worker = Worker(umem, port)
    fits = umem.max_frame_len - 4
    sizes = [60, 9000, fits, fits + 1, 60]
    for i, size in enumerate(sizes):
        far.send(frame(i, size))
    assert worker.receive_all(port, 3) == [frame(0, 60), frame(2, fits), frame(4, 60)]
    assert port.statistics()["too_long"] == 2


def test_only_packets_that_are_too_long(
    port: PacketMmapPort, umem: Umem, far: socket.socket, veth: tuple[str, str]
) -> None:
    for end in veth:
        ip("link", "set", end, "mtu", "9000")
    worker = Worker(umem, port)
    far.send(frame(0, 9000))
    until(lambda: not len(worker.receive(port)) and port.statistics()["too_long"] == 1, "a drop")
