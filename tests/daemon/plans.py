"""Plans of workers for tests."""

from __future__ import annotations

import os
import time
from ipaddress import IPv6Address
from typing import TYPE_CHECKING

from dstmrouter.daemon.plan import PortPlan, UmemPlan, WorkerPlan
from dstmrouter.daemon.shared import Sizes
from dstmrouter.pipeline.rules import TunnelRules

if TYPE_CHECKING:
    from dstmrouter.daemon.shared import SharedTables

SIZES = Sizes(workers=2, blocks=2, leases=16, hops=32, routes=16, set_slots=64)


def plan(shared: SharedTables, interface: str, *, worker: int = 0) -> WorkerPlan:
    """A worker with one packet_mmap port."""
    slots = 64
    return WorkerPlan(
        worker=worker,
        cpu=min(os.sched_getaffinity(0)),
        parent=os.getpid(),
        clock_zero=time.monotonic(),
        tables_fd=shared.fd,
        sizes=shared.sizes,
        ports=(
            PortPlan(
                interface=interface,
                mode="packet_mmap",
                xskmap_fd=None,
                filter_fd=None,
                fanout_group=None,
                busy_poll_us=0,
            ),
        ),
        umem=UmemPlan(
            frames=256,
            chunk_size=2048,
            rx_slots=slots,
            tx_slots=slots,
            fill_slots=slots,
            completion_slots=slots,
        ),
        rules=TunnelRules(tep6=(IPv6Address("2001:db8:f::1"),)),
    )
