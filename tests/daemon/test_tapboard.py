from __future__ import annotations

import numpy as np

from dstmrouter.daemon.tapboard import FRAME_MAX, NO_PORT, SLOTS, Sample, TapBoard

ALL = np.ones(256, np.bool_)
SAMPLE = Sample(123, 1, b"as it came", 7, sent_port=2, sent=b"as it left")


def board(workers: int = 2) -> tuple[TapBoard, TapBoard]:
    """The supervisor's view and the workers'."""
    memory = bytearray(TapBoard.size(workers))
    return TapBoard(memory, workers), TapBoard(memory, workers)


def test_nothing_is_wanted_at_first() -> None:
    supervisor, worker = board()
    assert not worker.armed
    assert worker.order() is None
    assert supervisor.take(0, 9) == []


def test_order_reaches_workers() -> None:
    supervisor, worker = board()
    wanted = np.arange(256) == 7
    program = bytes(range(16))
    supervisor.arm(wanted, program, 60)
    order = worker.order()
    assert order is not None
    assert worker.armed
    assert (order.version, order.program, worker.until_s()) == (worker.version, program, 60)
    assert np.array_equal(order.verdicts, wanted)
    supervisor.extend(70)
    assert worker.until_s() == 70
    supervisor.arm(ALL, b"", 60)
    again = worker.order()
    assert again is not None
    assert again.version > order.version
    assert again.program == b""
    supervisor.disarm()
    supervisor.disarm()
    assert not worker.armed
    assert worker.order() is None


def test_samples_come_back_by_worker() -> None:
    supervisor, worker = board()
    supervisor.arm(ALL, b"", 60)
    whole = Sample(5, 0, bytes([1]) * FRAME_MAX, 3, made=True)
    worker.put(0, worker.version, SAMPLE)
    worker.put(1, worker.version, whole)
    worker.put(1, worker.version, SAMPLE)
    assert supervisor.take(0, 9) == [SAMPLE]
    assert supervisor.take(0, 9) == []
    assert supervisor.take(1, 1) == [whole]
    assert supervisor.take(1, 1) == [SAMPLE]
    assert whole.sent_port == NO_PORT


def test_ring_has_an_end_and_turns() -> None:
    supervisor, worker = board()
    supervisor.arm(ALL, b"", 60)
    for turn in range(3):
        for number in range(SLOTS):
            assert worker.room(0) == SLOTS - number
            worker.put(0, worker.version, Sample(turn, 0, bytes([number]), 0))
        assert worker.room(0) == 0
        assert worker.room(1) == SLOTS
        frames = [sample.frame for sample in supervisor.take(0, SLOTS)]
        assert frames == [bytes([number]) for number in range(SLOTS)]


def test_samples_of_an_earlier_order_are_forgotten() -> None:
    supervisor, worker = board()
    supervisor.arm(ALL, b"", 60)
    before = worker.version
    worker.put(0, before, SAMPLE)
    supervisor.arm(ALL, b"", 60)
    worker.put(0, before, SAMPLE)  # by a worker in the middle of its burst
    worker.put(0, worker.version, SAMPLE)
    assert supervisor.take(0, 9) == [SAMPLE]
    assert worker.room(0) == SLOTS


def test_missed_packets_are_counted_by_order() -> None:
    supervisor, worker = board()
    supervisor.arm(ALL, b"", 60)
    worker.miss(0, 5)
    worker.miss(1, 6)
    assert supervisor.missed() == 11
    supervisor.arm(ALL, b"", 60)
    assert supervisor.missed() == 0
