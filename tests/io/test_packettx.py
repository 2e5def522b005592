"""Sending over a real veth pair; the ring has tests without one."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from dstmrouter.io.umem import DESC, Umem
from tests.io.packet_fixtures import (
    SIZES,
    SMALL,
    Worker,
    far,
    frame,
    needs_root,
    port,
    umem,
    until,
    veth,
)

if TYPE_CHECKING:
    import socket

    from dstmrouter.io.packetmmap import PacketMmapPort

__all__ = ["far", "port", "umem", "veth"]  # fixtures
pytestmark = [pytest.mark.netns, needs_root]


def test_transmit_from_anywhere_in_a_chunk_through_many_turns(
    port: PacketMmapPort, umem: Umem, far: socket.socket
) -> None:
    worker = Worker(umem, port)
    for turn in range(20):
        sent = [frame(turn * 100 + i, max(size, 60)) for i, size in enumerate(SIZES)]
        descs = np.zeros(len(sent), DESC)
        descs["addr"] = umem.pool.take(len(sent)) + np.uint64(turn * 11)
        worker.burst += len(sent)
        for i, each in enumerate(sent):
            start = int(descs["addr"][i])
            umem.memory[start : start + len(each)] = each
            descs["len"][i] = len(each)
        done = 0
        for _ in range(100):  # slots become free when the other end has the packets
            done += worker.transmit(port, descs[done:])
        assert done == len(descs)
        assert [far.recv(2048) for _ in sent] == sent
    assert port.statistics()["tx_congested"] == 0


def test_a_full_transmit_ring_leaves_the_rest_to_the_caller(
    port: PacketMmapPort, umem: Umem
) -> None:
    descs = np.zeros(SMALL.tx_slots + 5, DESC)
    descs["addr"] = umem.pool.take(len(descs))
    descs["len"] = 60
    assert port.transmit(descs) == SMALL.tx_slots  # not flushed: no slot becomes free
    assert port.transmit(descs[SMALL.tx_slots :]) == 0
    assert port.statistics()["tx_full"] == 5 + 5
    assert port.held().completion == SMALL.tx_slots
    assert port.reclaim().tolist() == descs["addr"][: SMALL.tx_slots].tolist()
    assert port.held().total == 0
    port.flush()
    until(lambda: port.transmit(descs[SMALL.tx_slots :]) == 5, "free slots")


def test_packets_too_long_for_a_slot_or_the_device_are_dropped_and_the_next_are_sent(
    port: PacketMmapPort, umem: Umem, far: socket.socket
) -> None:
    descs = np.zeros(4, DESC)
    descs["addr"] = umem.pool.take(4)
    descs["len"] = [2040, 1900, 0, 60]  # a slot takes 2006, the device 1518
    start = int(descs["addr"][3])
    umem.memory[start : start + 60] = frame(3, 60)
    assert port.transmit(descs) == 4
    for _ in range(4):  # three refusals of the second packet
        port.flush()
    assert far.recv(2048) == frame(3, 60)
    counters = port.statistics()
    assert (counters["tx_too_long"], counters["tx_refused"], counters["tx_congested"]) == (1, 1, 3)
    assert port.held().completion == 4
