"""A worker process: owns queue `worker` of every port, and one CPU.

It reads shared tables, writes its own counters and notices, and talks to nobody. When the
supervisor dies, the kernel kills it (PR_SET_PDEATHSIG), its sockets are closed, and the traffic is
the kernel's again.
"""

from __future__ import annotations

import contextlib
import ctypes
import gc
import os
import select
import signal
import sys
import threading
import time
from typing import TYPE_CHECKING, Any, Final

from dstmrouter.daemon.engine import Engine
from dstmrouter.daemon.filtering import filtered
from dstmrouter.daemon.idling import Idling
from dstmrouter.daemon.meter import TurnMeter
from dstmrouter.daemon.plan import PACKET_MMAP, SOCKET, WorkerPlan, read_plan
from dstmrouter.daemon.ports import PacketMemory, open_ports
from dstmrouter.daemon.shared import SharedTables
from dstmrouter.daemon.tap import Tap
from dstmrouter.daemon.tunnel_rules import identity
from dstmrouter.errors import DstmError
from dstmrouter.jit import cache
from dstmrouter.pipeline.forward import Forwarder
from dstmrouter.pipeline.memory import FrameMemory
from dstmrouter.runtime import TurnStep

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from dstmrouter.io.port import Port

PR_SET_PDEATHSIG: Final = 1  # linux/prctl.h
NOTICE_S: Final = 1.0
COMPILING: Final = (
    "compiling the fast path, half a minute at most; until then all packets take the numpy way. "
    "`dstm-router compile` does that beforehand"
)


class Worker:
    """Runs an engine until told to stop."""

    def __init__(self, plan: WorkerPlan, shared: SharedTables, engine: Engine) -> None:
        self._plan = plan
        self._shared = shared
        self._engine = engine
        self._stop = False
        self._next_notice = 0.0
        self._forwarding_after_s = time.monotonic() - plan.begun_at
        self._compiled_after_s: float | None = None
        self._idling = Idling()
        self._meter = engine.meter = TurnMeter(shared.runtime, plan.worker)
        self._poll = select.poll()
        for port in engine.ports:
            self._poll.register(port.fileno(), select.POLLIN)
        engine.on_glean = lambda found: shared.noticeboard.glean(plan.worker, found)

    def stop(self, *_: object) -> None:
        """End after the present turn; a signal handler."""
        self._stop = True

    def now_compiled(self) -> None:
        """Compiled code has taken over: tell so; another thread's call."""
        self._compiled_after_s = round(time.monotonic() - self._plan.begun_at, 3)
        self._next_notice = 0.0

    def run(self) -> None:
        """Forward until stopped."""
        turns, worker = self._shared.turns, self._plan.worker
        meter, idling, engine = self._meter, self._idling, self._engine
        clock, empty, unmeasured = meter.clock, 0, 0  # rounds up to the next measured turn
        while not self._stop:
            now, rounds = clock(), unmeasured
            if not rounds:
                now, unmeasured = meter.begin()
            turns.begin(worker)
            received = engine.turn(now - self._plan.clock_zero, rounds or 1)
            turns.end(worker)
            if rounds:
                unmeasured -= engine.rounds
            if meter.on:
                meter.end(received)
                if now >= self._next_notice:
                    self._post(now)
            if received:
                empty = 0
            elif empty < idling.turns:
                empty += 1
            else:
                self._wait()

    def _wait(self) -> None:
        """Sleep until there is something to do."""
        begun = self._meter.rest()
        if begun >= self._next_notice:
            self._post(begun)  # now, because whoever wakes it should not wait for that
            begun = self._meter.rest()
        ready = self._poll.poll(self._idling.timeout_ms(sending=self._engine.sending()))
        now = self._meter.waited(begun, in_vain=not ready)
        self._idling.slept(now - begun, woken=bool(ready))

    def _post(self, now: float) -> None:
        self._next_notice = now + NOTICE_S
        with self._meter.aside(TurnStep.TELL):
            self._tell(now)

    def _tell(self, now: float) -> None:
        self._shared.noticeboard.post(
            self._plan.worker,
            {
                "pid": os.getpid(),
                "at_s": now - self._plan.clock_zero,
                "frames": self._engine.umem.frames,
                "pool": len(self._engine.umem.pool),
                "missing": self._engine.missing(),
                "kept": self._engine.forwarder.held(),
                "engine": self._engine.forwarder.engine,
                "forwarding_after_s": round(self._forwarding_after_s, 3),
                "compiled_after_s": self._compiled_after_s,
                "ports": [self._about(port) for port in self._engine.ports],
            },
        )

    @staticmethod
    def _about(port: Port) -> dict[str, Any]:
        held = port.held()
        return {
            "mode": str(getattr(port, "mode_taken", PACKET_MMAP)),
            "sends": getattr(port, "sends", SOCKET),
            "notes": getattr(port, "mode_notes", []),
            "held": {name: getattr(held, name) for name in ("fill", "rx", "tx", "completion")},
            "statistics": port.statistics(),
        }


def forward(plan: WorkerPlan) -> None:
    """Open everything, forward until SIGTERM, close everything."""
    shared = SharedTables(plan.tables_fd, plan.sizes)
    with contextlib.ExitStack() as undo:
        packets = PacketMemory(plan, undo)
        umem = packets.umem
        memory = FrameMemory(umem.memory)
        who = identity(plan.worker, plan.sizes.workers)
        forwarder = Forwarder(memory, shared.tables, plan.rules, umem.pool, who)
        gc.collect()
        gc.freeze()  # what is there stays; collecting it again and again would cost milliseconds
        ports = open_ports(plan, packets, undo)  # late: from here on packets wait for us
        steps = filtered(forwarder, umem.memory, plan.filters())
        engine = Engine(umem, ports, steps, shared.counters, plan.worker)
        engine.tap = Tap(shared.taps, plan.worker, umem.memory)
        engine.usage = shared.tables.usage.values[plan.worker]
        worker = Worker(plan, shared, engine)
        forwarder.measure_with(engine.meter)
        signal.signal(signal.SIGTERM, worker.stop)
        if plan.compiled:
            compile_for(engine, forwarder, shared, plan, worker.now_compiled)
        worker.run()


def compile_for(
    engine: Engine,
    steps: Forwarder,
    shared: SharedTables,
    plan: WorkerPlan,
    done: Callable[[], None],
) -> threading.Thread:
    """Load the compiled forwarder in a thread, and let it take over; numpy forwards meanwhile.

    It begins at once: the two share a CPU for 0.4 s of work whenever it is done, and until then all
    packets take the slower way. `done` is called when it has taken over.
    """

    @uncollected()
    def load() -> None:
        start = time.monotonic()
        # Here and not above, because importing Numba takes longer than all of a worker's start.
        from dstmrouter.daemon.compiled.ringturn import ring_turn
        from dstmrouter.pipeline.compiled.forward import CompiledForwarder

        cold = not cache.is_filled()
        if cold:
            print(f"worker {plan.worker}: {COMPILING}", file=sys.stderr, flush=True)
        memory = engine.umem.memory
        compiled = CompiledForwarder(memory, shared.tables, plan.rules, steps, plan.worker)
        compiled.measure_with(engine.meter)
        for port in engine.ports:
            port.use_compiled()
        engine.forwarder = filtered(compiled, memory, plan.filters())
        if engine.forwarder is compiled:
            engine.handover = ring_turn(engine, compiled)
        done()
        if cold:
            took = time.monotonic() - start
            print(f"worker {plan.worker}: compiled in {took:.0f} s", file=sys.stderr)

    thread = threading.Thread(target=load, name="compile", daemon=True)
    thread.start()
    return thread


@contextlib.contextmanager
def uncollected() -> Iterator[None]:
    """Collect no garbage in the block, and never anything of what is there after it."""
    gc.disable()  # to load Numba with it takes a sixth longer, and it finds nothing
    try:
        yield
    finally:
        gc.freeze()  # what Numba keeps is too much to be looked through while packets wait
        gc.enable()


def die_with(parent: int) -> None:
    """Have the kernel kill this process when its parent dies, also if that is so already."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        sys.exit(1)


def main(arguments: Sequence[str]) -> int:
    """Start by the supervisor: the only argument is the descriptor of the plan."""
    plan = read_plan(int(arguments[0]))
    die_with(plan.parent)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C goes to the supervisor, which stops us
    os.sched_setaffinity(0, {plan.cpu})
    try:
        forward(plan)
    except DstmError as error:
        print(f"dstm-router worker {plan.worker}: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
