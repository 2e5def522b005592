"""Bindings by the million: how fast they reach the forwarding table, and what they weigh.

    python -m perf bindings [--json] [--out FILE] [--runs N] [--leases N] [--pps RATE] [--quick]

- snapshot: a real `dstm-server` holds all leases in its store; from the moment a real `dstm-router`
  follows its feed until every lease is in the forwarding table.
- changes: each gives an address to another client, while packets to exactly these addresses are
  forwarded, of which none may be dropped; at a fixed rate, and as many as the router takes
  (generator, pusher and supervisor then contend for one CPU, so fewer packets are offered).
- memory: what server and router (supervisor and worker) weigh with all leases, less what they weigh
  with none, per lease.
"""

from __future__ import annotations

import collections
import contextlib
import dataclasses
import time
from ipaddress import IPv4Network
from typing import TYPE_CHECKING, Final

from lab.netns import wait_until
from perf.changes import Background, Changes, Work, publish, push
from perf.figures import Figure
from perf.gateway import POOL, Gateway, RouterProcess, memory_octets, settle_in, unix_time
from perf.leaseserver import fill_store, serving
from perf.results import report, shared_options
from perf.wire import Forwarder, Options, Way, Ways, check, load

if TYPE_CHECKING:
    from collections.abc import Sequence

SMALL_POOL: Final = IPv4Network("10.0.0.0/24")
DELTAS: Final = (1_000, 10_000)
FORWARDED: Final = "ENCAPSULATED"  # the verdict
LOAD_S: Final = 60.0
CHANGED: Final = 65_536  # as many as the generator can address


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What the command line chooses."""

    runs: int = 3
    leases: int = 1_000_000
    changed: int = CHANGED
    pps: float = 100_000
    rate: float = 200_000  # changes/s, where they are paced
    seconds: float = 2.0


class Results:
    """Values by what was measured."""

    def __init__(self, plan: Plan) -> None:
        self._leases = plan.leases
        self._runs: dict[tuple[str, int, str], list[float]] = collections.defaultdict(list)

    def add(self, work: str, unit: str, value: float, bindings: int | None = None) -> None:
        """Note one run."""
        self._runs[work, bindings or self._leases, unit].append(value)

    def figures(self) -> list[Figure]:
        """All of them, in the order of the first runs."""
        return [
            Figure(bench="bindings", work=work, unit=unit, runs=runs, bindings=bindings)
            for (work, bindings, unit), runs in self._runs.items()
        ]


# Snapshots and memory -----------------------------------------------------------------------------


def measure_snapshots(gateway: Gateway, plan: Plan, results: Results) -> None:
    """Start a server, then routers one after the other."""
    empty, full = gateway.directory / "empty.sqlite", gateway.directory / "full.sqlite"
    with serving(gateway, empty, SMALL_POOL) as server:
        server_alone = memory_octets(server.process.pid)
    with gateway.router("auto", leases=1, pool=SMALL_POOL) as router:
        router_alone = _router_memory(router)
    fill_store(full, POOL, plan.leases)
    with serving(gateway, full, POOL) as server:
        results.add("server start", "s", server.start_s)
        for _ in range(plan.runs):
            with gateway.router("auto", leases=1 << 20, feed=True) as router:
                results.add("snapshot", "s", _time_to_load(router, plan.leases))
                router_octets = _router_memory(router)
            results.add(
                "router memory", "octets/lease", (router_octets - router_alone) / plan.leases
            )
        server_octets = memory_octets(server.process.pid) - server_alone
        results.add("server memory", "octets/lease", server_octets / plan.leases)


def _router_memory(router: RouterProcess) -> int:
    return memory_octets(router.process.pid, router.worker_pid())


def _time_to_load(router: RouterProcess, leases: int) -> float:
    """Seconds from the start of following to the last lease in the table."""
    following = unix_time(router.wait_logged("forwarding"))
    wait_until(lambda: router.status().get("bindings") == leases, "all leases", LOAD_S)
    return time.time() - following


# Changes ------------------------------------------------------------------------------------------


def measure_changes(gateway: Gateway, plan: Plan, results: Results) -> None:
    """Change bindings while packets are forwarded by them."""
    with contextlib.ExitStack() as undo:
        way, _ = Ways(gateway, Options(bindings=plan.changed), undo).all
        for _ in range(plan.runs):
            with gateway.router("auto", leases=1 << 20) as router:
                bench = Bench(way, router, plan, results)
                Changes(plan.changed, plan.changed, None).push_once(gateway.control)
                check(way, bench.through)
                bench.forward("no changes")
                for delta in DELTAS:
                    for rate in (plan.rate, None):
                        work = push(gateway.control, Changes(plan.changed, delta, rate))
                        bench.forward_while(f"pushed by {delta:,}", rate, work)
            with gateway.router("auto", leases=1 << 20, feed=True) as router:
                bench = Bench(way, router, plan, results)
                for rate in (plan.rate, None):
                    work = publish(gateway.directory, Changes(plan.changed, DELTAS[-1], rate))
                    bench.forward_while(f"published by {DELTAS[-1]:,}", rate, work)


@dataclasses.dataclass(frozen=True, slots=True)
class Bench:
    """Forwarding by one router, with and without changes."""

    way: Way
    router: RouterProcess
    plan: Plan
    results: Results

    @property
    def through(self) -> Forwarder:
        """The router as the generator's bench sees it."""
        return Forwarder("dstm-router", self.router.worker_pid(), routes=True)

    def forward_while(self, how: str, rate: float | None, work: Work) -> None:
        """Forward while `work` changes bindings."""
        name = f"{how}, {'as fast as it goes' if rate is None else 'paced'}"
        with Background(work) as changing:
            check(self.way, self.through)
            self.forward(name)
        self._add(f"{name}: changes", "changes/s", changing.rate)

    def forward(self, name: str) -> None:
        """Forward for some time.

        Packets are lost where the worker is too late for its receive ring; what it had in hand and
        did not forward is `dropped`.
        """
        plan, before = self.plan, self._dropped()
        became = load(self.way, self.through, plan.seconds, plan.pps)
        self._add(f"{name}: forwarded", "Mpps", became.forwarded / 1e6)
        self._add(f"{name}: lost", "ppm", 1e6 * became.lost / became.offered)
        self._add(f"{name}: dropped", "packets", self._dropped() - before)

    def _dropped(self) -> int:
        verdicts = self.router.verdicts()
        return sum(verdicts.values()) - verdicts.get(FORWARDED, 0)

    def _add(self, work: str, unit: str, value: float) -> None:
        self.results.add(work, unit, value, self.plan.changed)


def main(argv: Sequence[str] | None = None) -> None:
    """Parse options, measure, print."""
    parser = shared_options("bindings", __doc__, 3)
    parser.add_argument("--leases", type=int, default=1_000_000, help="(default 1,000,000)")
    parser.add_argument("--pps", type=float, default=1e5, help="packets/s offered during changes")
    parser.add_argument("--rate", type=float, default=2e5, help="changes/s where they are paced")
    parser.add_argument("--quick", action="store_true", help="one short run with 20,000 leases")
    args = parser.parse_args(argv)
    settle_in()
    plan = Plan(runs=args.runs, leases=args.leases, pps=args.pps, rate=args.rate)
    if args.quick:
        plan = Plan(runs=1, leases=20_000, changed=4096, pps=2e4, seconds=0.3)
    results = Results(plan)
    with Gateway() as gateway:
        measure_snapshots(gateway, plan, results)
        measure_changes(gateway, plan, results)
    report("bindings", results.figures(), args)


if __name__ == "__main__":
    main()
