"""Packets that start here: frames for them, and their way out by their destination (R16, R25).

A destination in our pools is reached through the tunnel of its holder, also where hairpinning is
off; any other one by its route.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np
import numpy.typing as npt

from dstmrouter.pipeline.bindings import RowKind
from dstmrouter.pipeline.outcome import Made, Noted, Outcome
from dstmrouter.pipeline.verdict import Verdict
from dstmrouter.wire import ether
from dstmrouter.wire.constant import constant

if TYPE_CHECKING:
    from dstmrouter.pipeline.icmp6 import About6
    from dstmrouter.pipeline.inner import Inner
    from dstmrouter.pipeline.memory import Index
    from dstmrouter.pipeline.surroundings import Surroundings

HEADROOM: Final = 256  # octets before a packet in its frame, as the kernel leaves them
_NOT_POOL: Final = constant(RowKind.NOT_POOL, np.uint8)
_FORWARDED: Final = np.array([verdict.forwarded for verdict in Verdict])


class OwnPackets:
    """Takes frames for packets of ours, and sends them."""

    def __init__(self, around: Surroundings) -> None:
        self._bindings = around.tables.bindings
        self._frames = around.frames
        self._encap = around.encap
        self._route = around.route

    def places(self, limit: int) -> Index:
        """Where up to `limit` packets may be written, octets of frame memory.

        Their frames are the caller's until they are sent or given back.
        """
        return self._frames.take(limit).astype(np.intp) + HEADROOM

    def send4(self, packets: Inner, verdict: Verdict, now_s: int, outcome: Outcome) -> None:
        """Send IPv4 packets, each in a frame of `places`; `verdict` counts them."""
        n = len(packets)
        sent = Outcome(np.full(n, verdict, np.uint8))
        outside = self._bindings.look_up(packets.dst)["kind"] == _NOT_POOL
        rows = np.flatnonzero(outside)
        if len(rows):
            self._route.originate(rows, packets.take(rows), sent)
        if len(rows) < n:
            rows = np.flatnonzero(~outside)
            self._encap.answer(rows, packets.take(rows), now_s, sent)
        outcome.gleaned += sent.gleaned
        for send in sent.sends:
            counted = np.full(len(send.rows), verdict, np.uint8)
            outcome.made.append(Made(send.port, counted, send.at, send.length))
        self._give_up(packets, sent.verdicts, outcome)

    def send6(
        self,
        at: Index,
        length: npt.NDArray[np.int64],
        about: About6,
        verdict: Verdict,
        outcome: Outcome,
    ) -> None:
        """Send IPv6 packets of `length` octets at `at`, back to where those of `about` came from.

        Each is in a frame of `places`; `verdict` counts them.
        """
        writer = self._encap.writers[about.port]
        writer.write_ethernet(at, about.macs, ether.ETHERTYPE_IPV6)
        before = writer.link_len
        counted = np.full(len(at), verdict, np.uint8)
        outcome.made.append(Made(about.port, counted, at - before, length + before))

    def _give_up(self, packets: Inner, verdicts: npt.NDArray[np.uint8], outcome: Outcome) -> None:
        stay = np.flatnonzero(~_FORWARDED.take(verdicts))
        if len(stay):
            self._frames.give(packets.at[stay].astype(np.uint64))
            octets = int(packets.total_len[stay].sum())
            outcome.noted.append(Noted(Verdict.UNSENT_NO_WAY, len(stay), octets))
