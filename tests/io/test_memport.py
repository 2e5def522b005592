from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from dstmrouter.io.memport import MemoryPort
from dstmrouter.io.umem import DESC, XDP_PACKET_HEADROOM
from tests.io.packet_fixtures import Worker, contents, frame, umem

if TYPE_CHECKING:
    from dstmrouter.io.umem import Umem

__all__ = ["umem"]  # fixture


def test_fed_packets_arrive_in_order_at_the_headroom(umem: Umem) -> None:
    port = MemoryPort(umem, "m")
    worker = Worker(umem, port)
    packets = [frame(i, 42 + i) for i in range(100)]
    port.feed(packets)
    descs = worker.receive(port, 30)
    assert contents(umem, descs) == packets[:30]
    assert set(descs["addr"] % umem.chunk_size) == {XDP_PACKET_HEADROOM}
    worker.free(descs["addr"])
    assert worker.receive_all(port, 70) == packets[30:]
    assert port.waiting == 0
    assert len(port.receive(64)) == 0


def test_rows_of_an_array_are_packets(umem: Umem) -> None:
    port = MemoryPort(umem, "m")
    worker = Worker(umem, port)
    rows = np.arange(120, dtype=np.uint8).reshape(2, 60)
    port.feed(rows)
    assert worker.receive_all(port, 2) == [rows[0].tobytes(), rows[1].tobytes()]


@pytest.mark.parametrize("limit", [1, 7, 10, 64])
def test_loaded_frames_arrive_without_a_copy(umem: Umem, limit: int) -> None:
    port = MemoryPort(umem, "m")
    worker = Worker(umem, port)
    descs = np.zeros(10, DESC)
    descs["addr"] = umem.pool.take(10) + np.uint64(100)
    descs["len"] = 60
    worker.burst += 10
    port.load(descs[:6])
    port.load(descs[6:])
    worker.burst -= 10
    worker.check()
    assert port.held().rx == 10
    got = []
    while port.waiting:
        taken = worker.receive(port, limit)
        assert 0 < len(taken) <= limit
        got.extend(taken["addr"].tolist())
    assert got == descs["addr"].tolist()


def test_sent_frames_come_back_as_octets_and_as_frames(umem: Umem) -> None:
    port = MemoryPort(umem, "m")
    worker = Worker(umem, port)
    packets = [frame(i, 60) for i in range(8)]
    port.feed(packets)
    descs = worker.receive(port)
    descs["addr"] += np.uint64(14)  # anywhere in the chunk
    descs["len"] -= 14
    assert worker.transmit(port, descs) == 8
    assert port.take_sent() == [p[14:] for p in packets]
    assert port.take_sent() == []
    assert len(umem.pool) + port.held().total == umem.frames


def test_without_record_nothing_is_kept(umem: Umem) -> None:
    port = MemoryPort(umem, "m", record=False)
    worker = Worker(umem, port)
    port.feed([frame(0, 60)])
    assert worker.transmit(port, worker.receive(port)) == 1
    assert port.take_sent() == []


def test_a_full_port_takes_the_first_and_leaves_the_rest(umem: Umem) -> None:
    port = MemoryPort(umem, "m", slots=4)
    worker = Worker(umem, port)
    descs = np.zeros(6, DESC)
    descs["addr"] = umem.pool.take(6)
    descs["len"] = 14
    worker.burst += 6
    assert port.transmit(descs) == 4
    worker.burst -= 4
    worker.check()
    assert port.transmit(descs[4:]) == 0
    assert port.statistics()["tx_full"] == 2 + 2
    assert port.reclaim().tolist() == descs["addr"][:4].tolist()
    assert port.transmit(descs[4:]) == 2


def test_too_long_and_no_frame_are_counted(umem: Umem) -> None:
    port = MemoryPort(umem, "m")
    port.feed([bytes(umem.max_frame_len + 1), bytes(umem.max_frame_len)])
    assert port.waiting == 1
    assert len(port.receive(64)) == 0  # no frames yet; the packet waits
    assert port.statistics() == {"too_long": 1, "no_frame": 1, "tx_full": 0}
    worker = Worker(umem, port)
    assert worker.receive_all(port, 1) == [bytes(umem.max_frame_len)]


def test_close_twice(umem: Umem) -> None:
    port = MemoryPort(umem, "m")
    port.close()
    port.close()
    assert port.fileno() == -1
