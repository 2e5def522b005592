"""How soon a worker forwards, and what it takes of a CPU without traffic and with little of it.

    python -m perf waking [--json] [--out FILE] [--runs N] [--seconds S] [--quick]

A real router over veth. Start: its only worker is killed, and the next one tells how long after
the start of its process it began to forward, and when the compiled code took over from numpy; the
cache of compiled code is warm. "start: CPU" is its processor time until then. After that lone
packets arrive at a steady rate, and none at all. "CPU" is the worker's processor time, "asleep" the
share of packets that had to wake it, "wakings in vain" how often it woke and found nothing (ten a
second are the timeout of poll).
"""

from __future__ import annotations

import collections
import contextlib
import os
import signal
import socket
import time
from typing import TYPE_CHECKING, Any, Final

from lab.netns import wait_until
from perf.figures import Figure
from perf.gateway import COMPILE_S, Gateway, RouterProcess, cpu_seconds, settle_in
from perf.results import report, shared_options
from perf.wire import Options, Ways, router

if TYPE_CHECKING:
    from collections.abc import Sequence

    from perf.wire import Runs, Way

RATES: Final = (100, 1_000, 5_000, 20_000)  # packets/s
SETTLE_S: Final = 1.2  # by then the worker has told again, and what came with the start is over


class Lone:
    """Sends frames of a way one by one; a context manager."""

    def __init__(self, gateway: Gateway, way: Way) -> None:
        with gateway.far4.entered():
            self._socket = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
            self._socket.bind(("far4", 0))
        self._frame = way.generator.frame

    def send(self, seconds: float, pps: float) -> int:
        """Send at a steady rate; return how many. What is late is sent at once."""
        start, sent = time.monotonic(), 0
        while (now := time.monotonic()) < start + seconds:
            if now - start >= sent / pps:
                self._socket.send(self._frame)
                sent += 1
        return sent

    def __enter__(self) -> Lone:
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()


def start(running: RouterProcess, runs: Runs) -> None:
    """Kill the worker, and note how long the next one takes."""
    old = running.worker_pid()
    os.kill(old, signal.SIGKILL)

    def compiled() -> dict[str, Any]:
        workers = running.status()["workers"]
        told = [w for w in workers if w["pid"] != old and w.get("compiled_after_s")]
        return told[0] if told else {}

    wait_until(compiled, "a new worker with compiled code", COMPILE_S)
    runs["start: CPU", "s"].append(cpu_seconds(running.worker_pid()))
    for what in ("forwarding", "compiled"):
        runs[f"start: {what}", "s"].append(compiled()[f"{what}_after_s"])


class Look:
    """The worker's numbers at one moment."""

    def __init__(self, running: RouterProcess) -> None:
        (found,) = running.client.call("runtime")["workers"]
        self.cpu_s = cpu_seconds(running.worker_pid())
        self.at = time.monotonic()
        wait = next(step for step in found["steps"] if step["name"] == "WAIT")
        self.in_vain = found["timeouts"]
        self.wakings = wait["calls"] - found["timeouts"]


def load(running: RouterProcess, lone: Lone, seconds: float, pps: int, runs: Runs) -> None:
    """Packets at a rate, or none, and what the worker does meanwhile."""
    time.sleep(SETTLE_S)
    before = Look(running)
    if pps:
        sent = lone.send(seconds, pps)
    else:
        time.sleep(seconds)
        sent = 0
    after = Look(running)
    took = after.at - before.at
    name = f"{pps:,} packets/s" if pps else "no traffic"
    runs[f"{name}: CPU", "%"].append(100 * (after.cpu_s - before.cpu_s) / took)
    if sent:
        asleep = 100 * (after.wakings - before.wakings) / sent
        runs[f"{name}: asleep", "% of packets"].append(asleep)
    else:
        runs[f"{name}: wakings in vain", "1/s"].append((after.in_vain - before.in_vain) / took)


def measure(times: int, seconds: float) -> list[Figure]:
    """All figures."""
    runs: Runs = collections.defaultdict(list)
    options = Options()
    with contextlib.ExitStack() as undo:
        gateway = undo.enter_context(Gateway())
        ways = Ways(gateway, options, undo)
        running = undo.enter_context(router(gateway, "afxdp", options))
        lone = undo.enter_context(Lone(gateway, ways.all[0]))
        for _ in range(times):
            start(running, runs)
            for pps in (0, *RATES):
                load(running, lone, seconds, pps, runs)
    return [
        Figure(bench="waking", work=work, unit=unit, runs=values)
        for (work, unit), values in runs.items()
    ]


def main(argv: Sequence[str] | None = None) -> None:
    """Parse options, measure, print."""
    parser = shared_options("waking", __doc__, 5)
    parser.add_argument("--seconds", type=float, default=3.0, help="of one load (default 3)")
    parser.add_argument("--quick", action="store_true", help="one short run")
    args = parser.parse_args(argv)
    settle_in()
    figures = measure(*((1, 0.3) if args.quick else (args.runs, args.seconds)))
    report("start and sleep of a worker", figures, args)


if __name__ == "__main__":
    main()
