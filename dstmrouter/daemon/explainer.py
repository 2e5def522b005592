"""What would become of a packet: a pipeline of its own over the router's tables, without ports.

It is the engine of a worker, with the same tables and rules, so nothing is decided here. Only what
workers keep between bursts is missing: fragments that wait, token buckets for ICMP errors. Within
one explainer it is kept from packet to packet.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from dstmrouter.counters import Counters
from dstmrouter.daemon.engine import REFILL_STEP, Engine
from dstmrouter.daemon.filtering import filtered
from dstmrouter.daemon.tap import Tap
from dstmrouter.daemon.tapboard import SLOTS, TapBoard
from dstmrouter.errors import DstmError
from dstmrouter.io.memport import MemoryPort
from dstmrouter.io.umem import Umem
from dstmrouter.pipeline.bindings import FOREVER
from dstmrouter.pipeline.forward import Forwarder
from dstmrouter.pipeline.memory import FrameMemory
from dstmrouter.pipeline.verdict import Verdict

if TYPE_CHECKING:
    from dstmrouter.daemon.filtering import Filters
    from dstmrouter.daemon.tapboard import Sample
    from dstmrouter.pipeline.outcome import Tables
    from dstmrouter.pipeline.rules import TunnelRules

_SPARE: Final = 256  # frames for packets that are kept or made


class Explainer:
    """Runs packets one by one; `filters` has an element for every port of the router."""

    def __init__(
        self, tables: Tables, rules: TunnelRules, filters: Filters, chunk_size: int
    ) -> None:
        ports = len(filters)
        self._umem = umem = Umem(2 * ports * REFILL_STEP + _SPARE, chunk_size)
        self._ports = [
            MemoryPort(umem, str(number), record=False, slots=REFILL_STEP)
            for number in range(ports)
        ]
        counters = Counters(bytearray(Counters.size(1, len(Verdict))), 1, len(Verdict))
        steps = Forwarder(FrameMemory(umem.memory), tables, rules, umem.pool)
        behind = filtered(steps, umem.memory, filters)
        self._engine = Engine(umem, self._ports, behind, counters)
        self._board = TapBoard(bytearray(TapBoard.size(1)), 1)
        self._board.arm(np.ones(256, np.bool_), b"", FOREVER)
        self._engine.tap = Tap(self._board, 0, umem.memory)

    def explain(self, port: int, frame: bytes, now_s: int) -> list[Sample]:
        """What becomes of a frame that comes in by `port`: itself first, then what it leads to.

        Raises DstmError for a frame that no chunk can hold.
        """
        if len(frame) > self._umem.max_frame_len:
            most = self._umem.max_frame_len
            raise DstmError(f"frame of {len(frame)} octets: at most {most} fit in a chunk")
        self._ports[port].feed([frame])
        while self._ports[port].waiting:
            self._engine.turn(now_s)
        return self._board.take(0, SLOTS)

    def close(self) -> None:
        """Give the memory back."""
        self._umem.close()
