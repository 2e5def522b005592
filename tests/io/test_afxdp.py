"""AF_XDP sockets on real veth pairs: contents, order, and where every frame is."""

from __future__ import annotations

import os
from contextlib import ExitStack
from ipaddress import IPv4Network
from typing import TYPE_CHECKING

import numpy as np
import pytest

from dstmrouter.io import uapi
from dstmrouter.io.afxdp import XskConfig, XskMode, XskSocket, open_sockets
from dstmrouter.io.port import RingFill
from dstmrouter.io.steering import SteeringMaps, XdpMode, XskMap, attach_xdp, load_xdp
from dstmrouter.io.umem import DESC, XDP_PACKET_HEADROOM, Descs, Umem
from dstmrouter.io.xsksetup import DEFAULT_TX_BATCH
from tests.io.conftest import Veth, collect, drain, ip
from tests.io.frames import ethernet, udp4

if TYPE_CHECKING:
    import socket
    from collections.abc import Iterator, Sequence

pytestmark = [
    pytest.mark.netns,
    pytest.mark.skipif(os.geteuid() != 0, reason="AF_XDP needs root"),
]
FRAMES = 1024
SMALL = XskConfig(fill_slots=64, rx_slots=64, tx_slots=64, completion_slots=64)
NATIVE = XskMode.NATIVE_COPY


def packet(number: int, size: int = 60) -> bytes:
    """A frame of `size` octets for the pool that carries its number."""
    payload = number.to_bytes(4, "big").ljust(size - 42, b"x")
    return ethernet(0x0800, udp4("192.0.2.1", 9, payload))


class Bench:
    """Ports a and b of one worker, steering on both, and a tap at each far end."""

    def __init__(
        self,
        pairs: Sequence[Veth],
        configs: Sequence[XskConfig],
        undo: ExitStack,
        mode: XdpMode = XdpMode.NATIVE,
    ) -> None:
        self.umem = Umem(FRAMES)
        undo.callback(self.umem.close)
        maps = undo.enter_context(SteeringMaps())
        maps.set_pools([IPv4Network("192.0.2.0/24")])
        self.ports = open_sockets([pair.near for pair in pairs], 0, self.umem, configs)
        self.taps: list[socket.socket] = []
        for pair, port in zip(pairs, self.ports, strict=True):
            undo.enter_context(port)
            xsks = undo.enter_context(XskMap.create())
            program = undo.enter_context(load_xdp(maps, xsks, None))
            undo.enter_context(attach_xdp(pair.ifindex, program, mode))
            xsks.set(0, port.fileno())
            self.taps.append(undo.enter_context(pair.tap()))

    def frame(self, desc: np.void) -> bytes:
        """The octets of a received packet."""
        start = int(desc["addr"])
        return self.umem.octets[start : start + int(desc["len"])].tobytes()

    def refill(self, port: XskSocket, count: int) -> None:
        """Give frames of the pool to a port for reception."""
        addrs = self.umem.pool.take(count)
        assert port.refill(addrs) == len(addrs) == count

    def check_ledger(self, in_hand: int = 0) -> None:
        """Every frame is in the pool, in a port, or among the `in_hand` ones of the test."""
        held = sum(port.held().total for port in self.ports)
        assert len(self.umem.pool) + held + in_hand == FRAMES


@pytest.fixture
def undo() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


@pytest.mark.parametrize("mode", XdpMode)
def test_from_one_port_to_the_other_without_a_copy(
    pairs: list[Veth], undo: ExitStack, mode: XdpMode
) -> None:
    socket_mode = XskMode.GENERIC if mode is XdpMode.GENERIC else NATIVE
    config = XskConfig(mode=socket_mode)
    bench = Bench(pairs, [config, config], undo, mode)
    a, b = bench.ports
    sent = [packet(i, 60 + i) for i in range(300)]
    bench.refill(a, 400)
    bench.check_ledger()
    assert a.held() == RingFill(fill=400, rx=0, tx=0, completion=0)

    for frame in sent:
        bench.taps[0].send(frame)
    assert a.held() == RingFill(fill=100, rx=300, tx=0, completion=0)
    descs = a.receive(FRAMES)
    assert [bench.frame(desc) for desc in descs] == sent
    assert set((descs["addr"] % bench.umem.chunk_size).tolist()) == {XDP_PACKET_HEADROOM}
    bench.check_ledger(in_hand=300)

    descs["addr"] += 12  # what leaves is what we say: here without the MAC addresses
    descs["len"] -= 12
    assert b.transmit(descs) == 300
    bench.check_ledger()
    b.flush()
    assert collect(bench.taps[1], 300) == [frame[12:] for frame in sent]
    assert b.held() == RingFill(fill=0, rx=0, tx=0, completion=300)
    bench.check_ledger()

    back = b.reclaim()
    assert sorted(back.tolist()) == sorted(descs["addr"].tolist())
    bench.check_ledger(in_hand=300)
    bench.umem.pool.give(back)
    bench.check_ledger()
    assert b.held().total == 0


def test_many_turns_around_small_rings(pairs: list[Veth], undo: ExitStack) -> None:
    bench = Bench(pairs, [SMALL, SMALL], undo)
    a, b = bench.ports
    arrived: list[bytes] = []
    bench.refill(a, 64)
    for turn in range(100):
        for number in range(turn * 37, (turn + 1) * 37):
            bench.taps[0].send(packet(number))
        descs = a.receive(64)
        assert b.transmit(descs) == 37
        b.flush()
        arrived += drain(bench.taps[1])
        back = b.reclaim()
        assert a.refill(back) == len(back) == 37
        bench.check_ledger()
    assert arrived == [packet(number) for number in range(3700)]


def test_a_full_tx_ring_takes_the_first_and_leaves_the_rest(
    pairs: list[Veth], undo: ExitStack
) -> None:
    bench = Bench(pairs, [SMALL, SMALL], undo)
    a, b = bench.ports
    descs: Descs = np.zeros(100, DESC)
    descs["addr"] = bench.umem.pool.take(100)
    descs["len"] = 60
    assert b.transmit(descs) == 64
    assert b.transmit(descs[64:]) == 0
    assert b.held() == RingFill(fill=0, rx=0, tx=64, completion=0)
    bench.check_ledger(in_hand=36)
    b.flush()
    assert b.transmit(descs[64:]) == 36
    b.flush()  # the completion ring is full until we reclaim
    assert len(b.reclaim()) == 64
    b.flush()
    assert len(b.reclaim()) == 36
    bench.check_ledger(in_hand=100)
    assert a.refill_room() == 64
    assert a.refill(descs["addr"]) == 64
    assert a.refill_room() == 0


def test_rx_ring_overflow_is_counted_and_loses_no_frame(pairs: list[Veth], undo: ExitStack) -> None:
    bench = Bench(pairs, [XskConfig(fill_slots=128, rx_slots=64), SMALL], undo)
    a = bench.ports[0]
    bench.refill(a, 128)
    for number in range(100):
        bench.taps[0].send(packet(number))
    bench.check_ledger()
    assert a.held() == RingFill(fill=64, rx=64, tx=0, completion=0)
    assert a.statistics()["rx_ring_full"] == 36
    descs = a.receive(100)
    assert [bench.frame(desc) for desc in descs] == [packet(number) for number in range(64)]
    for number in range(64):  # the kernel still has all 64 others to fill
        bench.taps[0].send(packet(number))
    assert len(a.receive(100)) == 64


def test_without_frames_packets_are_dropped_and_counted(pairs: list[Veth], undo: ExitStack) -> None:
    bench = Bench(pairs, [SMALL, SMALL], undo)
    bench.taps[0].send(packet(1))
    assert len(bench.ports[0].receive(64)) == 0
    statistics = bench.ports[0].statistics()
    assert statistics["rx_dropped"] == 1
    assert statistics["rx_fill_ring_empty_descs"] == 1


def test_a_port_that_is_down_neither_raises_nor_loses_frames(
    pairs: list[Veth], undo: ExitStack
) -> None:
    bench = Bench(pairs, [SMALL, SMALL], undo)
    a, b = bench.ports
    bench.refill(a, 64)
    bench.taps[0].send(packet(1))
    descs = a.receive(64)
    ip(f"link set {pairs[1].near} down")
    assert b.transmit(descs) == 1
    b.flush()
    assert b.statistics()["wakeup_errors"] == 1
    assert b.held().tx == 1
    bench.check_ledger()
    ip(f"link set {pairs[1].near} up")
    b.flush()
    assert b.held() == RingFill(fill=0, rx=0, tx=0, completion=1)


def test_a_send_buffer_of_small_batches_sends_all(pairs: list[Veth], undo: ExitStack) -> None:
    """Before Linux 6.17 one wake-up sends 32 frames."""
    bench = Bench(pairs, [XskConfig(), XskConfig()], undo)
    b = bench.ports[1]
    b._sock.setsockopt(uapi.SOL_XDP, uapi.XDP_MAX_TX_SKB_BUDGET, DEFAULT_TX_BATCH)
    b._tx_batch = DEFAULT_TX_BATCH
    descs: Descs = np.zeros(1000, DESC)
    descs["addr"] = bench.umem.pool.take(1000)
    descs["len"] = 60
    assert b.transmit(descs) == 1000
    b.flush()
    assert b.held() == RingFill(fill=0, rx=0, tx=0, completion=1000)


def test_a_tx_ring_below_the_kernels_batch_works(pairs: list[Veth], undo: ExitStack) -> None:
    bench = Bench(pairs, [SMALL, XskConfig(tx_slots=16)], undo)
    a, b = bench.ports
    bench.refill(a, 64)
    for number in range(16):
        bench.taps[0].send(packet(number))
    assert b.transmit(a.receive(64)) == 16
    b.flush()
    assert collect(bench.taps[1], 16) == [packet(number) for number in range(16)]


def test_busy_polling_forwards_too(pairs: list[Veth], undo: ExitStack) -> None:
    config = XskConfig(busy_poll_us=20)
    bench = Bench(pairs, [config, config], undo)
    a, b = bench.ports
    bench.refill(a, 64)
    bench.taps[0].send(packet(1))
    b.transmit(a.receive(64))
    a.flush()
    b.flush()
    assert collect(bench.taps[1], 1) == [packet(1)]
