"""Packet filters of the ports: in front of the steps what came in, behind them what would leave.

They are expressions of pcap-filter(7). Without any, nothing stands between engine and steps.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Protocol, TypeAlias

import numpy as np

from dstmrouter.errors import ConfigError, DstmError
from dstmrouter.io.pcapfilter import compile_filter
from dstmrouter.pipeline.cbpf import Filter
from dstmrouter.pipeline.memory import FrameMemory
from dstmrouter.pipeline.outcome import Made, Outcome, Send
from dstmrouter.pipeline.verdict import Verdict

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    import numpy.typing as npt

    from dstmrouter.daemon.engine import Steps
    from dstmrouter.pipeline.memory import Octets

Filters: TypeAlias = "Sequence[tuple[bytes, bytes]]"
"""For every port what it lets in and out: classic BPF, empty for everything."""

_DROP_FILTER_IN: Final = np.uint8(Verdict.DROP_FILTER_IN)
_DROP_FILTER_OUT: Final = np.uint8(Verdict.DROP_FILTER_OUT)


class FilteredPort(Protocol):
    """What is asked of a port, wherever it is described."""

    @property
    def filter_in(self) -> str:
        """Of what may come in; empty for everything."""
        ...

    @property
    def filter_out(self) -> str:
        """Of what may leave."""
        ...


def compile_filters(ports: Sequence[FilteredPort], file: Path | None = None) -> Filters:
    """Compile `filter_in` and `filter_out` of all ports, which stand in `file`.

    Raises ConfigError that names the file, the port, the key and the reason.
    """
    before = "" if file is None else f"{file}: "
    return [
        (
            _compiled(port.filter_in, f"{before}[[port]] #{number} filter_in"),
            _compiled(port.filter_out, f"{before}[[port]] #{number} filter_out"),
        )
        for number, port in enumerate(ports, start=1)
    ]


def _compiled(expression: str, where: str) -> bytes:
    if not expression:
        return b""
    try:
        code = compile_filter(expression)
        Filter(code)
    except DstmError as error:
        raise ConfigError(f"{where}: {error}") from error
    return code


def filtered(steps: Steps, memory: Octets, filters: Filters) -> Steps:
    """Steps behind filters; themselves if there are none. `memory` is that of their frames."""
    return Filtered(steps, memory, filters) if any(map(any, filters)) else steps


class Filtered:
    """Steps between filters."""

    def __init__(self, steps: Steps, memory: Octets, filters: Filters) -> None:
        self.engine = steps.engine
        self._steps = steps
        self._memory = FrameMemory(memory)
        self._in = [Filter(code) if code else None for code, _ in filters]
        self._out = [Filter(code) if code else None for _, code in filters]

    def process(
        self, at: npt.NDArray[np.int64], length: npt.NDArray[np.int64], port: int, now_s: float
    ) -> Outcome:
        """As the steps do, for frames that the filter of `port` accepts; all others are dropped."""
        chosen = self._in[port]
        passes = None if chosen is None else chosen.matches(self._memory, at, length)
        if passes is None or passes.all():
            outcome = self._steps.process(at, length, port, now_s)
        else:
            outcome = Outcome(np.full(len(at), _DROP_FILTER_IN))
            rows = np.flatnonzero(passes)
            if len(rows):
                outcome.add(self._steps.process(at[rows], length[rows], port, now_s), rows)
        self._filter_out(outcome)
        return outcome

    def expire(self, now_s: float) -> Outcome:
        """As the steps do."""
        outcome = self._steps.expire(now_s)
        self._filter_out(outcome)
        return outcome

    def held(self) -> int:
        """How many frames the steps keep."""
        return self._steps.held()

    def _filter_out(self, outcome: Outcome) -> None:
        leaving = [self._leaving(send, outcome.verdicts) for send in outcome.sends]
        outcome.sends = [send for send in leaving if len(send.rows)]
        for made in outcome.made:
            refused = self._refused(made)
            if refused is not None:
                made.verdicts[refused] = _DROP_FILTER_OUT

    def _leaving(self, send: Send, verdicts: npt.NDArray[np.uint8]) -> Send:
        refused = self._refused(send)
        if refused is None:
            return send
        verdicts[send.rows[refused]] = _DROP_FILTER_OUT
        keep = ~refused
        return Send(send.port, send.rows[keep], send.at[keep], send.length[keep])

    def _refused(self, leaving: Send | Made) -> npt.NDArray[np.bool_] | None:
        chosen = self._out[leaving.port]
        if chosen is None:
            return None
        return ~chosen.matches(self._memory, leaving.at, leaving.length)
