"""The forwarding loop of one worker: receive, process, send, give frames back, refill.

The same engine runs over AF_XDP, packet_mmap, memory and pcap ports. Who calls `turn` decides when
to wait; the engine never does.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Protocol

import numpy as np

from dstmrouter.io.umem import DESC
from dstmrouter.pipeline.verdict import Verdict
from dstmrouter.runtime import UNMEASURED, TurnStep

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import numpy.typing as npt

    from dstmrouter.counters import Counters
    from dstmrouter.daemon.tap import Tap
    from dstmrouter.io.port import Port
    from dstmrouter.io.umem import Umem
    from dstmrouter.pipeline.outcome import Made, Outcome
    from dstmrouter.runtime import Meter

BURST: Final = 1024  # frames; a larger one would only push its headers out of the L2 cache
REFILL_STEP: Final = 64  # frames; fewer are not worth a ring update
OURS_AGAIN: Final = np.array([not (v.forwarded or v.kept) for v in Verdict])
_DROP_TX_FULL: Final = np.uint8(Verdict.DROP_TX_FULL)


class Steps(Protocol):
    """What happens to a burst: `dstmrouter.pipeline.forward.Forwarder`, or as good as it."""

    engine: str

    def process(
        self, at: npt.NDArray[np.int64], length: npt.NDArray[np.int64], port: int, now_s: float
    ) -> Outcome:
        """Decide over the frames that came in by `port`, and rewrite those that leave."""
        ...

    def expire(self, now_s: float) -> Outcome:
        """What time alone brings about; to be called about once a second."""
        ...

    def held(self) -> int:
        """How many frames are kept."""
        ...


class Handover(Protocol):
    """Receives, forwards and sends in one call: `dstmrouter.daemon.compiled.turn.RingTurn`."""

    @property
    def steps(self) -> Steps:
        """What is done about the others."""
        ...

    @property
    def rounds(self) -> int:
        """How often the last turn has been round the ports."""
        ...

    def turn(self, first: int, now_s: float, rounds: int) -> tuple[int, int, int]:
        """Give ports from `first` on one burst of work each, until one has something in `rest`.

        While packets come, it may go round up to `rounds` times from the first port on, with
        flushes in between. Returns how many packets came, how many frames of the last port are to
        be taken by `rest`, and the port behind that.
        """
        ...

    def rest(self, port: int) -> npt.NDArray[np.int64]:
        """Where the frames of a port start that are for `steps`, and their lengths; shape (2, n).

        They are the caller's.
        """
        ...

    def held(self) -> int:
        """How many frames wait for `rest`; some may, as long as packets keep coming."""
        ...


class Engine:
    """Moves frames between the ports of one worker; `worker` is the line of its counters."""

    def __init__(
        self,
        umem: Umem,
        ports: Sequence[Port],
        forwarder: Steps,
        counters: Counters,
        worker: int = 0,
    ) -> None:
        self.umem = umem
        self.ports = ports
        self.forwarder = forwarder  # another one may take over between two turns
        self.counters = counters
        self.worker = worker
        self._expired_s = 0  # whole seconds
        self.rounds = 1  # of the last turn
        self.meter: Meter = UNMEASURED
        self.tap: Tap | None = None  # for those who want to see packets
        self.handover: Handover | None = None  # does what can be done without them
        self.usage: npt.NDArray[np.uint64] | None = None  # the worker's line of UsageTable.values
        self.on_glean: Callable[[npt.NDArray[np.uint32]], None] = lambda _: None

    def turn(self, now_s: float, rounds: int = 1) -> int:
        """Give every port one burst of work; return how many packets were received.

        `now_s` is the router's clock in seconds. While packets come, ports may get up to `rounds`
        bursts; `self.rounds` tells how many they got.
        """
        watched = self.tap is not None and self.tap.wanted()
        handover = None if watched else self.handover
        meter = self.meter
        if handover is None:
            self.rounds, received = 1, self._serve_all(now_s)
        else:
            received = self._hand_over(handover, now_s, rounds)
        if int(now_s) != self._expired_s:
            self._expired_s = int(now_s)
            with meter.aside(TurnStep.EXPIRE):
                self._finish(self.forwarder.expire(now_s), now_s)
        for port in self.ports:
            port.flush()
        if meter.on:
            meter.lap(TurnStep.FLUSH, received)
        return received

    def missing(self) -> int:
        """Frames that neither pool, port nor pipeline has: 0, or the ledger is broken."""
        held = sum(port.held().total for port in self.ports) + self.forwarder.held()
        held += 0 if self.handover is None else self.handover.held()
        return self.umem.frames - len(self.umem.pool) - held

    def sending(self) -> bool:
        """Whether frames wait to be sent, so that `turn` must be called again soon."""
        return any(port.held().tx for port in self.ports)

    def _serve(self, number: int, port: Port, now_s: float) -> int:
        pool, meter = self.umem.pool, self.meter
        sent = port.reclaim()
        if len(sent):
            pool.give(sent)
        room = port.refill_room()
        if room >= REFILL_STEP and len(pool):
            self._refill(port, room)
        if meter.on:
            meter.lap(TurnStep.RECLAIM, len(sent))
        descs = port.receive(BURST)
        if meter.on:
            meter.lap(TurnStep.RECEIVE, len(descs))
        if len(descs):
            at, length = descs["addr"].astype(np.intp), descs["len"].astype(np.int64)
            self._work(at, length, number, now_s)
        return len(descs)

    def _serve_all(self, now_s: float) -> int:
        received = 0
        for number, port in enumerate(self.ports):
            if self.handover is not None and self.handover.held():
                self._catch_up(self.handover, number, now_s)
            received += self._serve(number, port, now_s)
        return received

    def _hand_over(self, handover: Handover, now_s: float, rounds: int) -> int:
        meter, received, number, self.rounds = self.meter, 0, 0, 0
        while number < len(self.ports):
            came, due, number = handover.turn(number, now_s, rounds)
            if not self.rounds:
                self.rounds = handover.rounds
            received += came
            if meter.on:
                meter.lap(TurnStep.COMPILED_TURN, came)
            if due:
                self._catch_up(handover, number - 1, now_s)
        return received

    def _catch_up(self, handover: Handover, number: int, now_s: float) -> None:
        """Do about a port's frames what the handover has left to the steps."""
        at, length = handover.rest(number)
        if len(at):
            outcome = self._forward(handover.steps, at, length, number, now_s)
            self._settle(at, length, outcome, now_s)

    def _forward(
        self,
        steps: Steps,
        at: npt.NDArray[np.int64],
        length: npt.NDArray[np.int64],
        number: int,
        now_s: float,
    ) -> Outcome:
        """Decide over packets that came by a port, and send what leaves."""
        meter, packets = self.meter, len(at)
        outcome = steps.process(at, length, number, now_s)
        if meter.on:
            meter.lap(TurnStep.FORWARD, packets)
        self._send(outcome)
        if meter.on:
            meter.lap(TurnStep.SEND, packets)
        return outcome

    def _refill(self, port: Port, room: int) -> None:
        frames = self.umem.pool.take(room)
        taken = port.refill(frames)
        if taken < len(frames):
            self.umem.pool.give(frames[taken:])

    def _work(
        self, at: npt.NDArray[np.int64], length: npt.NDArray[np.int64], number: int, now_s: float
    ) -> None:
        meter, packets = self.meter, len(at)
        tap = self.tap if self.tap is not None and self.tap.wanted() else None
        watched = None if tap is None else tap.before(at, length, number, now_s)
        if watched is not None and meter.on:
            meter.lap(TurnStep.WATCH, packets)
        outcome = self._forward(self.forwarder, at, length, number, now_s)
        if tap is not None and watched is not None:
            tap.after(watched, outcome)
            if meter.on:
                meter.lap(TurnStep.WATCH, packets)
        self._settle(at, length, outcome, now_s)

    def _settle(
        self,
        at: npt.NDArray[np.int64],
        length: npt.NDArray[np.int64],
        outcome: Outcome,
        now_s: float,
    ) -> None:
        """Take back the frames that are ours again, count, and see to all else."""
        if outcome.charges and self.usage is not None:
            for charge in outcome.charges:
                charge.settle(self.usage, outcome.verdicts)
        ours = OURS_AGAIN.take(outcome.verdicts)
        if np.count_nonzero(ours):
            self.umem.pool.give(at[ours].astype(np.uint64))
        self.counters.count(self.worker, outcome.verdicts, length, outcome.octets)
        self._finish(outcome, now_s)
        if self.meter.on:
            self.meter.lap(TurnStep.FINISH, len(at))

    def _finish(self, outcome: Outcome, now_s: float) -> None:
        """Everything in an outcome but what became of the burst itself."""
        for destinations in outcome.gleaned:
            self.on_glean(destinations)
        for made in outcome.made:
            self._send_made(made, now_s)
        for noted in outcome.noted:
            self.counters.add(self.worker, noted.verdict, noted.packets, noted.octets)
        for released in outcome.released:
            self.umem.pool.give(released.astype(np.uint64))
        for ended in outcome.ended:
            self.umem.pool.give(ended.at.astype(np.uint64))
            self.counters.count(self.worker, ended.verdicts, ended.length)
        for late in outcome.late:
            self._work(late.at, late.length, late.port, now_s)

    def _send(self, outcome: Outcome) -> None:
        for send in outcome.sends:
            descs = np.zeros(len(send.rows), DESC)
            descs["addr"], descs["len"] = send.at, send.length
            taken = self.ports[send.port].transmit(descs)
            if taken < len(descs):
                outcome.verdicts[send.rows[taken:]] = _DROP_TX_FULL

    def _send_made(self, made: Made, now_s: float) -> None:
        descs = np.zeros(len(made.at), DESC)
        descs["addr"], descs["len"] = made.at, made.length
        rows = np.flatnonzero(~OURS_AGAIN.take(made.verdicts))
        taken = self.ports[made.port].transmit(descs[rows])
        made.verdicts[rows[taken:]] = _DROP_TX_FULL
        self.umem.pool.give(descs["addr"][OURS_AGAIN.take(made.verdicts)])
        self.counters.count(self.worker, made.verdicts, made.length)
        if self.tap is not None and self.tap.wanted():
            self.tap.made(made, now_s)
