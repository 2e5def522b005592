"""What the feed of usage costs the supervisor: CPU time of one look at all bindings.

    python -m perf usagefeed [--json] [--out FILE] [--runs N] [--quick]

A supervisor of two workers, which are not started, holds a million bindings; so many of them have
used something since the last look, a subscriber in a process of its own reads the messages. Beside
the CPU time (with that of ZeroMQ's thread), the longest time that no other work of the supervisor
had its turn: what a control answer may have to wait for.
"""

from __future__ import annotations

import asyncio
import subprocess
import sys
import tempfile
import time
from ipaddress import IPv4Network
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np

from dstmrouter.config.load import load_router
from dstmrouter.config.router import UsageFeedSection
from dstmrouter.daemon.router import Supervisor
from dstmrouter.daemon.usage_feed import UsageFeed
from dstmrouter.zmqctl import BindingUpdate
from perf.figures import Figure
from perf.holdings import Holdings
from perf.results import report, shared_options

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

POOL: Final = IPv4Network("10.0.0.0/12")
BINDINGS, QUICK_BINDINGS = 1_000_000, 65_536
SHARES: Final = (0.0, 0.01, 1.0)  # of the bindings, that have used something
CONFIG: Final = f"""
[router]
name = "perf"
workers = 2
[[port]]
interface = "eth0"
[tunnel]
tep6 = ["2001:db8:f::1"]
tep4 = "192.0.2.1"
[[pool]]
prefix = "{POOL}"
[worker]
usage = true
"""
READ_ALL: Final = """
import sys, zmq
with zmq.Context() as context, context.socket(zmq.SUB) as socket:
    socket.subscribe(b"")
    socket.connect(sys.argv[1])
    while True:
        socket.recv()
"""


class Bench:
    """A supervisor with bindings, and its feed."""

    def __init__(self, directory: Path) -> None:
        file = directory / "router.toml"
        file.write_text(CONFIG)
        self._router = Supervisor(load_router(file))
        section = UsageFeedSection(bind=f"ipc://{directory}/usage", interval_s=3600.0)
        self.feed = UsageFeed(self._router, section, None)
        self._held_s = 0.0

    async def bind(self, count: int) -> None:
        """Have all bindings in the table."""
        holdings = Holdings(POOL, count, sets=False)
        columns = holdings.columns(self._router.config.tunnel.tep6[0])
        update = BindingUpdate(source="s", replace=False, columns=columns, epoch=b"", generation=1)
        assert (await self._router.intake.apply(update)).applied == count

    async def look(self, share: float) -> tuple[float, float]:
        """CPU time of one look, and the longest time without another's turn in another one, ms."""
        self._use(share)
        began_s = time.process_time()
        await self.feed.tell_changed()
        took_s = time.process_time() - began_s
        self._use(share)
        ticker = asyncio.create_task(self._tick())  # takes CPU time itself
        await asyncio.sleep(0.01)
        self._held_s = 0.0
        await self.feed.tell_changed()
        ticker.cancel()
        return took_s * 1000, self._held_s * 1000

    def _use(self, share: float) -> None:
        """Count for so many of the bindings, at even distances."""
        if share:
            slots = self._router.writer.bound_slots()[:: round(1 / share)]
            rows = self._router.shared.tables.bindings.slots[slots]
            for line in self._router.shared.tables.usage.values:
                line[rows] += np.uint64(100)

    async def _tick(self) -> None:
        while True:
            before = time.perf_counter()
            await asyncio.sleep(0)
            self._held_s = max(self._held_s, time.perf_counter() - before)


async def looks(bindings: int, runs: int) -> AsyncIterator[Figure]:
    """Two figures of each share."""
    with tempfile.TemporaryDirectory() as directory:
        bench = Bench(Path(directory))
        await bench.bind(bindings)
        feed = asyncio.create_task(bench.feed.run())
        with subprocess.Popen([sys.executable, "-c", READ_ALL, bench.feed.endpoint]) as reader:
            while not bench.feed.counters["subscriptions"]:
                await asyncio.sleep(0.01)
            for share in SHARES:
                await bench.look(share)  # pages that were never touched
                found = [await bench.look(share) for _ in range(runs)]
                for what, values in zip(("CPU", "held"), zip(*found, strict=True), strict=True):
                    work = f"{share:.0%} used: {what}"
                    yield Figure(
                        bench="usagefeed", work=work, unit="ms", runs=values, bindings=bindings
                    )
            reader.kill()
        feed.cancel()
        await asyncio.gather(feed, return_exceptions=True)
        bench.feed.close()


async def measure(bindings: int, runs: int) -> list[Figure]:
    """All figures."""
    return [figure async for figure in looks(bindings, runs)]


def main(argv: Sequence[str] | None = None) -> None:
    """Parse options, measure, print."""
    parser = shared_options("usagefeed", __doc__, 9)
    parser.add_argument("--quick", action="store_true", help="65,536 bindings, one run")
    args = parser.parse_args(argv)
    bindings, runs = (QUICK_BINDINGS, 1) if args.quick else (BINDINGS, args.runs)
    figures = asyncio.run(measure(bindings, runs))
    report("feed of usage, supervisor alone", figures, args)


if __name__ == "__main__":
    main()
