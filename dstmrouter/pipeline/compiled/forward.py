"""The compiled pass in front of the numpy steps, as one forwarder."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np
import numpy.typing as npt

from dstmrouter.pipeline.compiled import burst, views
from dstmrouter.pipeline.compiled.usage import CompiledCharges
from dstmrouter.pipeline.outcome import Outcome, Send
from dstmrouter.runtime import UNMEASURED, TurnStep

if TYPE_CHECKING:
    from collections.abc import Iterator

    from dstmrouter.pipeline.forward import Forwarder
    from dstmrouter.pipeline.memory import Index, Octets
    from dstmrouter.pipeline.outcome import Tables
    from dstmrouter.pipeline.rules import TunnelRules
    from dstmrouter.runtime import Meter

_ROWS: Final = np.arange(1 << 16)
_FIRST_SIZE: Final = 1024  # frames; room for larger bursts is made when they come


class CompiledForwarder:
    """Forwards normal packets itself and gives all others to `steps`; the same to its caller.

    Making one loads the compiled code, or compiles it: seconds, once for a version.
    """

    engine = "compiled"

    def __init__(
        self,
        buffer: Octets,
        tables: Tables,
        rules: TunnelRules,
        steps: Forwarder,
        worker: int = 0,
    ) -> None:
        self._counts_usage = tables.usage.switch.data
        self._ports = tables.ports
        self.steps = steps
        self._views = views.Views(buffer, tables, rules, worker)
        self.world = self._views.numbers  # what the pass looks at besides a burst
        self._columns = views.Columns(_FIRST_SIZE)
        self._charges = CompiledCharges(self._views, self._columns)
        self._port_generation = -1
        self._meter: Meter = UNMEASURED
        self._vlans: list[np.uint64] = []
        nothing = np.empty(0, np.int64)
        self._forward(nothing, nothing, np.uint64(0), np.uint64(0))
        self._charges.of(0).settle(tables.usage.values[worker], self._columns.verdict)

    def measure_with(self, meter: Meter) -> None:
        """Let `meter` know when a step is done, here or of numpy."""
        self._meter = meter
        self.steps.measure_with(meter)

    def process(self, at: Index, length: npt.NDArray[np.int64], port: int, now_s: float) -> Outcome:
        """As `dstmrouter.pipeline.forward.Forwarder.process`; the outcome is good for one burst."""
        self.follow_ports()
        n = len(at)
        if n > self._columns.size:
            self._columns = views.Columns(n)
            self._charges = CompiledCharges(self._views, self._columns)
        columns = self._columns
        left, only_port = self._forward(at, length, self._vlans[port], np.uint64(now_s))
        if self._meter.on:
            self._meter.lap(TurnStep.COMPILED, n)
        if left == n:
            return self.steps.process(at, length, port, now_s)
        outcome = Outcome(columns.verdict[:n])
        if self._counts_usage[0]:
            outcome.charges.append(self._charges.of(n))
        if left or only_port == views.NO_PORT:
            outcome.sends += _sends(columns, n)
        else:
            new = columns.new_at[:n], columns.new_length[:n]
            outcome.sends.append(Send(int(only_port), _ROWS[:n], *new))
        if left:
            rest = columns.rest[:left]
            outcome.add(self.steps.process(at[rest], length[rest], port, now_s), rest)
        return outcome

    def expire(self, now_s: float) -> Outcome:
        """As `dstmrouter.pipeline.forward.Forwarder.expire`."""
        return self.steps.expire(now_s)

    def held(self) -> int:
        """How many frames are kept."""
        return self.steps.held()

    def _forward(
        self, at: Index, length: npt.NDArray[np.int64], vlan: np.uint64, now_s: np.uint64
    ) -> tuple[np.uint64, np.uint64]:
        return burst.forward(self._views.numbers, self._columns.numbers, at, length, vlan, now_s)

    def follow_ports(self) -> None:
        """See what ports are like now; to be called before every burst."""
        if self._ports.generation == self._port_generation:
            return
        seen = self._ports.read()
        if seen is None:
            return
        self._port_generation, ports = seen
        self._views.describe_ports(ports)
        self._vlans = [np.uint64(vlan) for vlan in ports["vlan"]]


def _sends(columns: views.Columns, n: int) -> Iterator[Send]:
    """Group what leaves by port."""
    ports = columns.port[:n]
    for port in np.unique(ports):
        if port != views.NO_PORT:
            rows = np.flatnonzero(ports == port)
            yield Send(int(port), rows, columns.new_at[rows], columns.new_length[rows])
