"""IPv4 packets out of the tunnels of their clients (R11, R1, R12, R14)."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Final

import numpy as np
import numpy.typing as npt

from dstmrouter.pipeline import ecn, inner, reasons
from dstmrouter.pipeline.bindings import RowKind, over
from dstmrouter.pipeline.decide import any_of, survivors
from dstmrouter.pipeline.outer import OuterReader
from dstmrouter.pipeline.portkeys import Side
from dstmrouter.pipeline.verdict import Verdict

if TYPE_CHECKING:
    from dstmrouter.pipeline.decide import Checks
    from dstmrouter.pipeline.inner import Inner
    from dstmrouter.pipeline.link import Packets
    from dstmrouter.pipeline.memory import FrameMemory, Index, Records
    from dstmrouter.pipeline.portsets import PortSets
    from dstmrouter.pipeline.rules import TunnelRules

_BY_JUDGEMENT: Final = np.zeros(256, np.uint8)
_BY_JUDGEMENT[ecn.USUAL] = Verdict.DECAPSULATED
_BY_JUDGEMENT[ecn.UNUSUAL] = Verdict.DECAPSULATED_ECN_ODD
_BY_JUDGEMENT[ecn.DROP] = Verdict.DROP_ECN_CE


_OCTET: Final = np.uint16(8)
_DECAPSULATED: Final = np.uint8(Verdict.DECAPSULATED)
_DROP_ECN_CE: Final = np.uint8(Verdict.DROP_ECN_CE)


@dataclasses.dataclass(slots=True)
class Opened:
    """Columns of n packets that left their tunnels."""

    rows: Index  # which frames of the burst
    packets: Inner  # TOS as they leave
    bindings: npt.NDArray[np.uint32]  # numbers of the rows of those who sent them

    def take(self, keep: Index) -> Opened:
        """Those at the positions `keep`."""
        return Opened(self.rows[keep], self.packets.take(keep), self.bindings[keep])


class Decapsulator:
    """Checks tunnel packets and takes them apart; holds views and tables only."""

    def __init__(self, memory: FrameMemory, port_sets: PortSets, rules: TunnelRules) -> None:
        self._memory = memory
        self._port_sets = port_sets
        self._outer = OuterReader(memory, rules.tep6)
        self._tos_at_exit, judged = ecn.exit_table(dscp_uniform=rules.dscp_uniform)
        self._verdict_at_exit = _BY_JUDGEMENT[judged]

    def open(self, packets: Packets, now_s: int, verdicts: npt.NDArray[np.uint8]) -> Opened:
        """What may leave its tunnel.

        All others have their verdict then, and these have one that says how their ECN was judged.
        """
        outer, outer_checks = self._outer.read(packets)
        rows = packets.rows
        if outer.inner_header is None:  # some had not IPv4 right behind: maybe a flood of fragments
            keep = survivors(outer_checks, verdicts, rows)
            if keep is not None:
                rows, outer, outer_checks = rows[keep], outer.take(keep), ()
        inners, inner_checks = inner.read(
            self._memory, outer.inner_at, outer.inner_room, outer.inner_header, "src_upper"
        )
        holders, bindings, _ = self._port_sets.find(inners, Side.SRC)
        checks = (
            *outer_checks,
            *inner_checks,
            *_spoof_checks(holders, outer.header["src"], now_s),
        )
        tos = outer.traffic_class
        opened = Opened(rows, inners, bindings)
        keep = survivors(checks, verdicts, rows)
        if keep is not None:
            opened, tos = opened.take(keep), tos[keep]
        rows = opened.rows
        verdicts[rows if len(rows) < len(verdicts) else slice(None)] = _DECAPSULATED
        if any_of(tos != opened.packets.header["tos"]):
            return self._leave(opened, tos, verdicts)
        return opened

    def _leave(
        self,
        opened: Opened,
        traffic_class: npt.NDArray[np.uint8],
        verdicts: npt.NDArray[np.uint8],
    ) -> Opened:
        """R7 and R14, for bursts in which the two headers differ in DSCP or ECN somewhere.

        Where they do not, the packet leaves as it is: equal marks are usual, and stay.
        """
        rows = opened.rows
        tos_pair = traffic_class.astype(np.uint16) << _OCTET | opened.packets.header["tos"]
        verdicts[rows] = self._verdict_at_exit.take(tos_pair)
        keep = np.flatnonzero(verdicts[rows] != _DROP_ECN_CE)
        if len(keep) < len(rows):
            opened, tos_pair = opened.take(keep), tos_pair[keep]
        inner.set_tos(opened.packets, self._tos_at_exit.take(tos_pair))
        return opened


def _spoof_checks(holders: Records, src6: npt.NDArray[np.uint64], now_s: int) -> Checks:
    """R12: the inner source, and its port if it is shared, must be leased to the outer one."""
    client6, foreign = holders["client6"], lambda: _why_foreign(holders)
    return (
        (over(holders, now_s), lambda: _why_unbound(holders)),
        (client6[:, 0] != src6[:, 0], foreign),
        (client6[:, 1] != src6[:, 1], foreign),
    )


def _why_unbound(holders: Records) -> npt.NDArray[np.uint8]:
    verdicts = reasons.SPOOFED.take(holders["kind"])
    over = (holders["kind"] == RowKind.BOUND) & (holders["psid_len"] > 0)
    verdicts[over] = Verdict.DROP_SPOOF_PORT
    return verdicts


def _why_foreign(holders: Records) -> npt.NDArray[np.uint8]:
    """Whose port set it is says nothing of who may have which other one of the address."""
    shared = holders["psid_len"] > 0
    verdicts = np.where(shared, Verdict.DROP_SPOOF_PORT, Verdict.DROP_SPOOF_CLIENT)
    return verdicts.astype(np.uint8)
