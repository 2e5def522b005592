"""The compiled pass in front of the numpy steps, as one forwarder."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np
import numpy.typing as npt

from dstmrouter.jit.functions import address
from dstmrouter.pipeline.compiled import burst, views
from dstmrouter.pipeline.compiled.usage import CompiledCharges
from dstmrouter.pipeline.limits import TICKS
from dstmrouter.pipeline.outcome import Noted, Outcome, Send
from dstmrouter.pipeline.verdict import Verdict
from dstmrouter.runtime import UNMEASURED, TurnStep

if TYPE_CHECKING:
    from collections.abc import Iterator

    from dstmrouter.pipeline.forward import Forwarder
    from dstmrouter.pipeline.memory import Index, Octets
    from dstmrouter.pipeline.outcome import Tables
    from dstmrouter.pipeline.rules import TunnelRules
    from dstmrouter.runtime import Meter

_ROWS: Final = np.arange(1 << 16)
_NO_TICK: Final = -1
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
        self._tick = _NO_TICK  # of the limits
        self._call = np.zeros(1, views.CALL)
        self._call["world"] = address(self.world)
        self._place = int(address(self._call))
        self._vlan, self._only_port, self._octets = (
            self._call[name].data for name in ("vlan", "only_port", "octets")
        )
        self._make_columns(_FIRST_SIZE)
        self._port_generation = -1
        self._meter: Meter = UNMEASURED
        self._vlans: list[int] = []
        self._counted = False  # as unsent errors, besides their verdict: packets to nobody
        nothing = np.empty(0, np.int64)
        burst.forward_at(self._place, nothing, nothing)
        self._charges.of(0).settle(tables.usage.values[worker], self._columns.verdict)

    def measure_with(self, meter: Meter) -> None:
        """Let `meter` know when a step is done, here or of numpy."""
        self._meter = meter
        self.steps.measure_with(meter)

    def process(self, at: Index, length: npt.NDArray[np.int64], port: int, now_s: float) -> Outcome:
        """As `dstmrouter.pipeline.forward.Forwarder.process`; the outcome is good for one burst."""
        if self._ports.generation != self._port_generation:
            self.follow_ports()
        n = len(at)
        if n > self._columns.size:
            self._make_columns(n)
        tick = int(now_s * TICKS)
        if tick != self._tick:
            self._tick = tick
            self._call["now_s"] = int(now_s)
            self._refuse(now_s)
        self._vlan[0] = self._vlans[port]
        left = burst.forward_at(self._place, at, length)
        if self._meter.on:
            self._meter.lap(TurnStep.COMPILED, n)
        if left == n:
            outcome = self.steps.process(at, length, port, now_s)
        else:
            outcome = self._outcome(n, left)
            outcome.octets = self._octets[0]
            if left:
                rest = self._columns.rest[:left]
                outcome.add(self.steps.process(at[rest], length[rest], port, now_s), rest)
        if left:
            self._refuse(now_s)
        return outcome

    def _refuse(self, now_s: float) -> None:
        """Have packets to nobody end in the pass, now that tokens have come or gone."""
        standing = self.steps.unbound(now_s)
        self._counted = standing is not None
        self._columns.refuse(standing)

    def _outcome(self, n: int, left: int) -> Outcome:
        """The outcome of a burst before the steps have seen the `left` ones."""
        refused, only_port = self._refused[0], self._only_port[0]
        if left or refused or only_port == views.NO_PORT:
            return self._mixed(n, refused, left + refused < n, only_port)
        made = self._outcomes.get(n)
        outcome, send = self._plain(n) if made is None else made
        send.port = only_port
        outcome.sends = [send]
        outcome.charges = [self._charges.of(n)] if self._counts_usage[0] else []
        return outcome

    def _mixed(self, n: int, refused: int, some: bool, only_port: int) -> Outcome:
        """The outcome of a burst, `some` of which leaves, before the steps have seen the rest."""
        columns = self._columns
        outcome = Outcome(columns.verdict[:n])
        if refused and self._counted:
            outcome.noted.append(Noted(Verdict.UNSENT_ICMPV4, refused, 0))
        if self._counts_usage[0]:
            outcome.charges.append(self._charges.of(n))
        if some:
            outcome.sends += _sends(columns, n, only_port)
        return outcome

    def _make_columns(self, size: int) -> None:
        self._columns = views.Columns(size)
        self._charges = CompiledCharges(self._views, self._columns)
        self._call["columns"] = address(self._columns.numbers)
        self._refused = self._columns.refusals["count"].data
        self._tick = _NO_TICK  # nothing is refused in it yet
        self._outcomes: dict[int, tuple[Outcome, Send]] = {}

    def _plain(self, n: int) -> tuple[Outcome, Send]:
        """The outcome of a burst that leaves by one port, made once for each size: 2 us less."""
        columns = self._columns
        send = Send(0, _ROWS[:n], columns.new_at[:n], columns.new_length[:n])
        self._outcomes[n] = made = Outcome(columns.verdict[:n]), send
        return made

    def expire(self, now_s: float) -> Outcome:
        """As `dstmrouter.pipeline.forward.Forwarder.expire`."""
        return self.steps.expire(now_s)

    def held(self) -> int:
        """How many frames are kept."""
        return self.steps.held()

    def follow_ports(self) -> None:
        """See what ports are like now; to be called before every burst."""
        if self._ports.generation == self._port_generation:
            return
        seen = self._ports.read()
        if seen is None:
            return
        self._port_generation, ports = seen
        self._views.describe_ports(ports)
        self._vlans = [int(vlan) for vlan in ports["vlan"]]


def _sends(columns: views.Columns, n: int, only_port: int) -> Iterator[Send]:
    """Group what leaves by port; `only_port` as the pass has told it."""
    ports = columns.port[:n]
    for port in [only_port] if only_port != views.NO_PORT else np.unique(ports):
        if port != views.NO_PORT:
            rows = np.flatnonzero(ports == port)
            yield Send(int(port), rows, columns.new_at[rows], columns.new_length[rows])
