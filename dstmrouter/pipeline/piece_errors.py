"""ICMPv6 errors about fragments that cannot become a datagram (RFC 8200 section 4.5, R19).

Only clients get them: fragments of others are dropped before anybody looks at them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np
import numpy.typing as npt

from dstmrouter.pipeline import fragments
from dstmrouter.pipeline.icmp4 import Error
from dstmrouter.pipeline.icmp6 import about6
from dstmrouter.pipeline.link import Packets
from dstmrouter.pipeline.outcome import Noted
from dstmrouter.pipeline.rare import KeepsNothing
from dstmrouter.pipeline.verdict import Verdict
from dstmrouter.runtime import TurnStep
from dstmrouter.wire import icmp, ipv6

if TYPE_CHECKING:
    from collections.abc import Collection

    from dstmrouter.pipeline.errors6 import Errors6
    from dstmrouter.pipeline.fragment_store import Piece
    from dstmrouter.pipeline.fragments import Fragments
    from dstmrouter.pipeline.memory import FrameMemory
    from dstmrouter.pipeline.outcome import Outcome
    from dstmrouter.pipeline.rare import Arrivals

TIMEOUT: Final = Error(Verdict.SENT_PIECE_TIMEOUT, icmp.TIME_EXCEEDED6, icmp.REASSEMBLY_CODE)
WRONG_FIELD: Final = Error(Verdict.SENT_PIECE_PROBLEM, icmp.PARAMETER_PROBLEM6, icmp.FIELD_CODE)
NO_CHAIN: Final = Error(Verdict.SENT_PIECE_PROBLEM, icmp.PARAMETER_PROBLEM6, icmp.HEADER_CHAIN_CODE)
_PAYLOAD_LEN_AT: Final = 4  # octets from the start of the IPv6 header
_OFFSET_AT: Final = 2  # octets from the start of the fragment header


class PieceErrors(KeepsNothing):
    """The step; others may have timeouts told by it."""

    turn_step = TurnStep.PIECE_ERRORS
    verdicts: Collection[int] = (
        Verdict.DROP_PIECE_LENGTH,
        Verdict.DROP_PIECE_END,
        Verdict.DROP_PIECE_CHAIN,
    )

    def __init__(self, memory: FrameMemory, errors: Errors6) -> None:
        self._memory = memory
        self._errors = errors

    def work(self, arrivals: Arrivals, now_s: float, outcome: Outcome) -> None:
        """Send errors about the frames; their verdicts stay."""
        if self._errors.exhausted(WRONG_FIELD, now_s):
            outcome.noted.append(Noted(Verdict.UNSENT_ICMPV6, len(arrivals.rows), 0))
            return
        verdicts = outcome.verdicts[arrivals.rows]
        pieces = fragments.read(self._memory, arrivals)
        header_at = pieces.data_at - ipv6.FRAGMENT_LEN - pieces.at - pieces.link_len
        nowhere = np.zeros(len(pieces), np.int64)
        for verdict, error, pointer in (
            (Verdict.DROP_PIECE_LENGTH, WRONG_FIELD, nowhere + _PAYLOAD_LEN_AT),
            (Verdict.DROP_PIECE_END, WRONG_FIELD, header_at + _OFFSET_AT),
            (Verdict.DROP_PIECE_CHAIN, NO_CHAIN, nowhere),
        ):
            keep = np.flatnonzero(verdicts == verdict)
            if len(keep):
                part = pieces.take(keep), pointer[keep]
                self._send(error, part, arrivals.port, now_s, outcome)

    def timed_out(self, first: Piece, now_s: float, outcome: Outcome) -> None:
        """Tell the source of a first piece that the others did not come in time."""
        at, port = np.array([first.at]), first.port
        packets = Packets(
            np.zeros(1, np.intp), at + first.link_len, np.array([first.length - first.link_len])
        )
        about = about6(self._memory, packets, at, port)
        self._errors.send(TIMEOUT, about, now_s, outcome)

    def _send(
        self,
        error: Error,
        part: tuple[Fragments, npt.NDArray[np.int64]],
        port: int,
        now_s: float,
        outcome: Outcome,
    ) -> None:
        pieces, pointer = part
        packets = Packets(pieces.rows, pieces.at + pieces.link_len, pieces.length - pieces.link_len)
        about = about6(self._memory, packets, pieces.at, port)
        about.rest = pointer
        self._errors.send(error, about, now_s, outcome)
