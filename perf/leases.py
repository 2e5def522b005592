"""Leases per second of a `dstm-server`, through each of its protocols; and 100,000 of them.

    python -m perf leases [--json] [--out FILE] [--runs N] [--clients N] [--leases N] [--store KIND]
                          [--way WAY] [--quick]

- obtain, renew, release: by clients in other processes, each from an address of its own, so many at
  a time. Nothing counts before it is on disk. The server has one CPU and the clients have another.
- CPU: what the server's process takes for each, in user and system mode. Its inverse is the rate
  that one CPU can do when nobody else is in the way. Clients' CPU: the same of those who ask.
- stores: SQLite, then the same with PostgreSQL, whose processes are not in the server's CPU.
- many leases: memory of the server, less that with none, and how long it takes from its start until
  it serves.
- fsync: what the disk takes to make one page durable.
"""

from __future__ import annotations

import collections
import contextlib
import dataclasses
import itertools
import json
import os
import subprocess
import sys
import tempfile
import time
from ipaddress import IPv4Network
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np

from lab.netns import Lab, Namespace, wait_until
from perf.figures import Figure
from perf.gateway import TEP6, WORKER_CPU, cpu_seconds, memory_octets, settle_in
from perf.leaseclients import WAYS, Orders, Round
from perf.leaseserver import fill_store, serving
from perf.leasestores import STORES
from perf.results import report, shared_options

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from perf.leaseserver import ServerProcess

POOL: Final = IPv4Network("10.0.0.0/14")  # 262,144 addresses
SMALL_POOL: Final = IPv4Network("10.0.0.0/24")
PROCESSES: Final = 2  # of clients
SETTLED_S: Final = 30.0
PAGE: Final = bytes(4096)

CLIENT_SECTIONS: Final = """\
[tsp]
mechanisms = ["ANONYMOUS"]
anonymous_udp = true
[tsp.tls]
certificate = "{0}"
key = "{0}"
mechanisms = ["ANONYMOUS"]
[rpc]
rpcbind = "off"
"""
NEW_PAIR: Final = (
    *("-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"),
    *("-nodes", "-days", "2", "-subj", "/CN=server"),
)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What the command line chooses."""

    runs: int = 3
    clients: int = 2_000
    at_once: int = 48  # the control socket takes no more than 64 calls
    leases: int = 100_000
    stores: tuple[str, ...] = (*STORES,)
    ways: tuple[str, ...] = WAYS


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Site:
    """A namespace whose clients may have any address, and files."""

    space: Namespace
    directory: Path

    @property
    def certificate(self) -> Path:
        """The server's, with its key."""
        return self.directory / "server.pem"


@contextlib.contextmanager
def site() -> Iterator[Site]:
    """Make the network and the certificate."""
    with tempfile.TemporaryDirectory(prefix="perf-") as directory, Lab() as lab:
        made = Site(space=lab.namespace("leases"), directory=Path(directory))
        made.space.sysctl({"net.ipv6.ip_nonlocal_bind": "1"})
        made.space.address("lo", f"{TEP6}/128")
        made.space.ip("-6", "route", "add", "local", "2001:db8:1::/32", "dev", "lo")
        pem = made.certificate
        words = ("openssl", "req", *NEW_PAIR, "-addext", f"subjectAltName=IP:{TEP6}")
        made.space.run(*words, "-keyout", pem, "-out", pem.with_suffix(".crt"))
        with pem.open("ab") as file:
            file.write(pem.with_suffix(".crt").read_bytes())
        yield made


class Results:
    """Values by what was measured."""

    def __init__(self, plan: Plan) -> None:
        self._at_once = plan.at_once
        self._runs: dict[tuple[str, str, int | None], list[float]] = collections.defaultdict(list)

    def add(self, work: str, unit: str, value: float, leases: int | None = None) -> None:
        """Note one run; with `leases` it is no matter of clients."""
        self._runs[work, unit, leases].append(value)

    def figures(self) -> list[Figure]:
        """All of them, in the order of the first runs."""
        return [
            Figure(
                bench="leases",
                work=work,
                unit=unit,
                runs=runs,
                burst=self._at_once if leases is None else None,
                bindings=leases,
            )
            for (work, unit, leases), runs in self._runs.items()
        ]


# Clients ------------------------------------------------------------------------------------------


class Crowds:
    """The processes of clients."""

    def __init__(
        self, place: Site, server: ServerProcess, way: str, plan: Plan, first: int
    ) -> None:
        self._server = server
        self._counted = way.startswith("tsp")
        self._pid = server.process.pid
        self._clients = plan.clients
        share = plan.clients // PROCESSES
        self._processes: list[subprocess.Popen[str]] = []
        for number in range(PROCESSES):
            orders = Orders(
                way=way,
                first=first + number * share,
                count=share,
                at_once=plan.at_once // PROCESSES,
                authority=str(place.certificate),
                control=server.client.endpoint,
            )
            self._start(place.space, json.dumps(dataclasses.asdict(orders)))
        self._answers()

    def _start(self, space: Namespace, orders: str) -> None:
        words = ("taskset", "-c", str(WORKER_CPU), sys.executable, "-m", "perf.leaseclients")
        pipe = subprocess.PIPE
        process = space.popen(*words, orders, stdin=pipe, stdout=pipe, text=True)
        self._processes.append(process)

    def measure(self, what: str, name: str, results: Results) -> None:
        """Let all clients do `what`."""
        before, cpu_s, crowd_s = self._accepted(), cpu_seconds(self._pid), self._cpu_s()
        rounds = self._all(what)
        ended = max(one.ended for one in rounds)
        if self._counted and what != "release":
            # Nothing answers to the last message of a client, which takes what it was offered.
            wait_until(lambda: self._accepted() - before == self._clients, what, SETTLED_S)
            ended = time.monotonic()
        cpu_s, crowd_s = cpu_seconds(self._pid) - cpu_s, self._cpu_s() - crowd_s
        took_ms = 1000 * np.concatenate([one.took_s for one in rounds])
        rate = len(took_ms) / (ended - min(one.began for one in rounds))
        results.add(f"{name} {what}", "1/s", rate)
        results.add(f"{name} {what}: CPU", "us", 1e6 * cpu_s / len(took_ms))
        results.add(f"{name} {what}: clients' CPU", "us", 1e6 * crowd_s / len(took_ms))
        for percent in (50, 99):
            p = float(np.percentile(took_ms, percent))
            results.add(f"{name} {what}: p{percent}", "ms", p)

    def _all(self, what: str) -> list[Round]:
        for process in self._processes:
            assert process.stdin is not None
            process.stdin.write(f"{what}\n")
            process.stdin.flush()
        return [Round(**json.loads(answer)) for answer in self._answers()]

    def _answers(self) -> list[str]:
        lines = [process.stdout for process in self._processes if process.stdout is not None]
        return [line.readline() for line in lines]

    def end(self) -> None:
        """Let the processes end."""
        for process in self._processes:
            process.communicate(timeout=SETTLED_S)
            assert process.returncode == 0

    def _cpu_s(self) -> float:
        return sum(cpu_seconds(process.pid) for process in self._processes)

    def _accepted(self) -> int:
        rows = self._server.status()["tsp"]
        return next(int(row["count"]) for row in rows if row["name"] == "grants")


def measure_clients(place: Site, plan: Plan, results: Results) -> None:
    """Every protocol in turn, each with clients that the server has never seen."""
    numbers = itertools.count(0, plan.clients)
    sections = CLIENT_SECTIONS.format(place.certificate)
    for kind in plan.stores:
        with STORES[kind](place.directory) as new_store:
            for run in range(plan.runs):
                with serving(place, new_store(f"clients-{run}"), POOL, sections) as server:
                    for way in plan.ways:
                        crowds = Crowds(place, server, way, plan, next(numbers))
                        name = way if kind == "sqlite" else f"{kind} {way}"
                        for what in ("obtain", "renew", "release"):
                            crowds.measure(what, name, results)
                        crowds.end()


# Many leases --------------------------------------------------------------------------------------


def measure_many(place: Site, plan: Plan, results: Results) -> None:
    """Restart a server that has many leases."""
    empty, full = place.directory / "empty.sqlite", place.directory / "full.sqlite"
    with serving(place, empty, SMALL_POOL) as server:
        alone = memory_octets(server.process.pid)
    fill_store(full, POOL, plan.leases)
    for _ in range(plan.runs):
        with serving(place, full, POOL) as server:
            octets = memory_octets(server.process.pid)
            results.add("restart", "s", server.start_s, plan.leases)
            results.add("memory", "MB", octets / 1e6, plan.leases)
            results.add("memory: more", "octets/lease", (octets - alone) / plan.leases, plan.leases)


def measure_disk(place: Site, plan: Plan, results: Results) -> None:
    """Write pages, and have each on the disk."""
    fd = os.open(place.directory / "pages", os.O_RDWR | os.O_CREAT)
    for _ in range(plan.runs):
        began = time.monotonic()
        for number in range(100):
            os.pwrite(fd, PAGE, number * len(PAGE))
            os.fdatasync(fd)
        results.add("fsync", "ms", 10 * (time.monotonic() - began), 0)
    os.close(fd)


def measure(plan: Plan) -> list[Figure]:
    """All figures of this bench."""
    results = Results(plan)
    with site() as place:
        measure_disk(place, plan, results)
        measure_clients(place, plan, results)
        if "sqlite" in plan.stores:  # only these can be filled from here
            measure_many(place, plan, results)
    return results.figures()


def main(argv: Sequence[str] | None = None) -> None:
    """Parse options, measure, print."""
    parser = shared_options("leases", __doc__, 3)
    parser.add_argument("--clients", type=int, default=2_000, help="of a run (default 2,000)")
    parser.add_argument("--at-once", type=int, default=48, help="of these (default 48)")
    parser.add_argument("--leases", type=int, default=100_000, help="in store (default 100,000)")
    parser.add_argument("--store", choices=[*STORES], help="only this store (default: all)")
    parser.add_argument("--way", choices=WAYS, help="only this protocol (default: all)")
    parser.add_argument("--quick", action="store_true", help="one short run, few clients")
    args = parser.parse_args(argv)
    settle_in()
    plan = Plan(
        runs=1 if args.quick else args.runs,
        clients=100 if args.quick else args.clients,
        at_once=args.at_once,
        leases=1_000 if args.quick else args.leases,
        stores=(*STORES,) if args.store is None else (args.store,),
        ways=WAYS if args.way is None else (args.way,),
    )
    report("leases", measure(plan), args)


if __name__ == "__main__":
    main()
