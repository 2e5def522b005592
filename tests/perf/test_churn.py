"""The two halves of the bench of changing bindings, in one process."""

from __future__ import annotations

import asyncio

from dstmrouter.binding import OP_REMOVE
from dstmrouter.pipeline.verdict import Verdict
from perf.changes import Changes, bindings
from perf.churn import Supervisor
from perf.walker import FRAMES, Walked, Walker

CHANGED = 4096


def test_packets_are_forwarded_by_bindings_that_change() -> None:
    supervisor = Supervisor(CHANGED)
    walker = Walker(supervisor.shared, CHANGED)
    changes = Changes(CHANGED, CHANGED, None)
    packets = walker.walk(0.05).packets
    for _ in range(3):
        assert asyncio.run(supervisor.apply(changes.next())) == CHANGED
        packets += walker.walk(0.05).packets
    assert packets > 0
    assert packets % FRAMES == 0
    totals, _ = supervisor.shared.counters.totals()
    assert totals[Verdict.ENCAPSULATED] == packets
    assert supervisor.dropped() == 0


def test_what_is_not_encapsulated_is_dropped() -> None:
    supervisor = Supervisor(CHANGED)
    gone = bindings(CHANGED, 0)
    gone.op[:] = OP_REMOVE
    asyncio.run(supervisor.apply(gone))
    packets = Walker(supervisor.shared, CHANGED).walk(0.05).packets
    assert supervisor.dropped() == packets


def test_two_walks_together() -> None:
    both = Walked(10, 1000, 5, 5) + Walked(30, 1000, 9, 2)
    assert both == Walked(40, 2000, 9, 5)
    assert both.mpps == 20
