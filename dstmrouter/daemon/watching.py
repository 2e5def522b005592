"""Control methods for those who want to see packets: watch.start, watch.take, watch.stop, explain.

There is one watch at a time. It ends by itself when nobody has taken from it for `LEASE_S`, so that
a dstmctl that was killed leaves nothing behind. Filters come compiled: looking up the host names in
an expression could take longer than a control process may stand still.
"""

from __future__ import annotations

import asyncio
import dataclasses
import secrets
import time
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from dstmrouter.daemon.explainer import Explainer
from dstmrouter.daemon.facts import Fact, FactReader
from dstmrouter.daemon.packetfacts import read_link
from dstmrouter.daemon.params import flag, number, text
from dstmrouter.daemon.tapboard import NO_PORT, SLOTS
from dstmrouter.errors import DstmError
from dstmrouter.pipeline.cbpf import Filter
from dstmrouter.pipeline.verdict import Verdict

if TYPE_CHECKING:
    import numpy.typing as npt

    from dstmrouter.daemon.router import Supervisor
    from dstmrouter.daemon.tapboard import Sample
    from dstmrouter.zmqctl import Handler

LEASE_S: Final = 5.0
WAIT_S: Final = 1.0  # how long watch.take waits for a packet
LOOK_S: Final = 0.02
_VERDICTS: Final = tuple(Verdict)
_LEFT_TO_KERNEL: Final = {
    "verdict": "LEFT_TO_KERNEL",
    "help": "the router never sees it",
    "sent_by": None,
    "sent": b"",
}
EXPLAIN_MAX: Final = 32  # packets in one call: the control process stands still for so long


class Watching:
    """Reads the supervisor's tables and orders samples; changes nothing of what is forwarded."""

    def __init__(self, router: Supervisor) -> None:
        self._router = router
        self._token = ""
        self._lapse: asyncio.TimerHandle | None = None
        self._names = [port.name for port in router.config.port]

    def handlers(self) -> dict[str, Handler]:
        """The control methods by name."""
        return {
            "watch.start": self._start,
            "watch.take": self._take,
            "watch.stop": self._stop,
            "explain": self._explain,
        }

    async def _start(self, params: dict[str, Any]) -> dict[str, Any]:
        """Begin a watch: `verdicts` are beginnings of their names, `program` a classic BPF one."""
        wanted = _verdicts(params.get("verdicts", []))
        program = params.get("program", b"")
        if not isinstance(program, bytes):
            raise DstmError("program: expected the octets of a classic BPF program")
        if program:
            Filter(program)  # workers must not stumble over it
        if self._token:
            raise DstmError("somebody else is watching; try again when they have stopped")
        self._token = secrets.token_hex(8)
        self._router.shared.taps.arm(wanted, program, 0)
        self._extend()
        return {"watch": self._token, "ports": self._names}

    async def _take(self, params: dict[str, Any]) -> dict[str, Any]:
        """Take up to `limit` packets; waits a moment for the first."""
        limit = number(params, "limit", 1, SLOTS) or SLOTS
        self._check(params)
        deadline = time.monotonic() + WAIT_S
        while not (found := self._samples(limit)) and time.monotonic() < deadline:
            await asyncio.sleep(LOOK_S)
            self._check(params)
        self._extend()
        reader = self._reader() if flag(params, "facts") else None
        return {
            "packets": [self._about(sample, reader) | {"worker": n} for n, sample in found],
            "missed": self._router.shared.taps.missed(),
        }

    async def _stop(self, params: dict[str, Any]) -> dict[str, Any]:
        self._check(params)
        self._end()
        return {}

    async def _explain(self, params: dict[str, Any]) -> dict[str, Any]:
        """What would become of `frames`, one after the other, if they came in by `port`."""
        frames = params.get("frames")
        if not isinstance(frames, list) or not all(isinstance(frame, bytes) for frame in frames):
            raise DstmError("frames: expected a list of octets")
        if not 0 < len(frames) <= EXPLAIN_MAX:
            raise DstmError(f"{len(frames)} frames: expected 1 to {EXPLAIN_MAX}")
        wished = text(params, "port")
        if wished and wished not in self._names:
            raise DstmError(f"port {wished!r}: expected one of {', '.join(self._names)}")
        router, reader = self._router, self._reader()
        tables, chunk = router.shared.tables, router.config.umem.chunk_size
        explainer = Explainer(tables, router.rules, router.filters, chunk)
        packets: list[dict[str, Any]] = []
        try:
            for order, frame in enumerate(frames):
                port = self._names.index(wished) if wished else self._port_of(frame)
                samples = explainer.explain(port, frame, router.now_s())
                told = [self._about(sample, reader) | {"number": order} for sample in samples]
                packets += self._steered(port, frame, told)
        finally:
            explainer.close()
        return {"packets": packets}

    # ------------------------------------------------------------------------------------------

    def _check(self, params: dict[str, Any]) -> None:
        if not self._token or params.get("watch") != self._token:
            raise DstmError("this watch is over")

    def _extend(self) -> None:
        """Let the watch last for LEASE_S from now on, and workers know it should we hang."""
        self._router.shared.taps.extend(self._router.now_s() + int(LEASE_S))
        if self._lapse is not None:
            self._lapse.cancel()
        self._lapse = asyncio.get_running_loop().call_later(LEASE_S, self._end)

    def _end(self) -> None:
        self._token = ""
        self._router.shared.taps.disarm()
        if self._lapse is not None:
            self._lapse.cancel()

    def _samples(self, limit: int) -> list[tuple[int, Sample]]:
        found: list[tuple[int, Sample]] = []
        for worker in range(self._router.config.router.workers):
            taken = self._router.shared.taps.take(worker, limit - len(found))
            found += [(worker, sample) for sample in taken]
        return found

    def _reader(self) -> FactReader:
        router = self._router

        def source_of(slot: int) -> str:
            return router.writer.source_of(np.array([slot], np.uint32))[0]

        return FactReader(router.shared.tables, router.rules, self._names, source_of)

    def _port_of(self, frame: bytes) -> int:
        """The first port whose traffic has the tag of a frame, or the first."""
        vlan = read_link(frame).vlan or None
        vlans = [port.vlan for port in self._router.config.port]
        return vlans.index(vlan) if vlan in vlans else 0

    def _steered(self, port: int, frame: bytes, told: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """What the program of the port adds to this: it may leave the frame to the kernel."""
        attachment = self._router.attachment
        interface = self._router.config.port[port].interface
        taken = None if attachment is None else attachment.takes(interface, frame)
        if taken is None:
            return told
        says = "takes it from the kernel" if taken else "leaves it to the kernel"
        fact = dataclasses.asdict(Fact("steering", f"the program of {interface} {says}"))
        first = told[0] | {"facts": [fact, *told[0]["facts"]]}
        if taken:
            return [first, *told[1:]]
        return [first | _LEFT_TO_KERNEL]

    def _about(self, sample: Sample, reader: FactReader | None) -> dict[str, Any]:
        verdict = _VERDICTS[sample.verdict]
        facts = [] if reader is None else reader.about(sample, self._router.now_s())
        return {
            "port": self._names[sample.port],
            "time_ns": sample.time_ns,
            "made": sample.made,
            "frame": sample.frame,
            "verdict": verdict.name,
            "help": verdict.help,
            "facts": [dataclasses.asdict(fact) for fact in facts],
            "sent_by": None if sample.sent_port == NO_PORT else self._names[sample.sent_port],
            "sent": sample.sent,
        }


def _verdicts(beginnings: object) -> npt.NDArray[np.bool_]:
    """Which verdicts have a name with one of these beginnings, shape (256,); all for none."""
    if not isinstance(beginnings, list) or not all(isinstance(name, str) for name in beginnings):
        raise DstmError("verdicts: expected a list of names")
    wanted = np.zeros(256, np.bool_)
    for beginning in beginnings or [""]:
        found = [verdict for verdict in Verdict if verdict.name.startswith(beginning.upper())]
        if not found:
            raise DstmError(f"verdict {beginning!r}: `dstmctl counters --all` has their names")
        wanted[found] = True
    return wanted
