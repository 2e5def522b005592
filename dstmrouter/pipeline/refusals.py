"""ICMPv4 errors about packets that were not forwarded: a step behind the pass (R3, R4, R16, R18).

Sources in the Internet are told by way of the route, clients through their tunnels. Their packets
are quoted as they arrived. A flood costs little: what its kind of error has no tokens for is
counted and not looked at.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from dstmrouter.pipeline.bindings import RowKind
from dstmrouter.pipeline.icmp4 import About, Error
from dstmrouter.pipeline.outcome import Noted
from dstmrouter.pipeline.portkeys import Side
from dstmrouter.pipeline.rare import KeepsNothing
from dstmrouter.pipeline.verdict import Verdict
from dstmrouter.runtime import TurnStep
from dstmrouter.wire import icmp, ipv4
from dstmrouter.wire.constant import constant

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    import numpy.typing as npt

    from dstmrouter.pipeline.errors4 import Errors4
    from dstmrouter.pipeline.limits import Standing
    from dstmrouter.pipeline.memory import Index
    from dstmrouter.pipeline.outcome import Outcome
    from dstmrouter.pipeline.rare import Arrivals
    from dstmrouter.pipeline.reread import Rereader
    from dstmrouter.pipeline.surroundings import Surroundings

TTL: Final = Error(Verdict.SENT_TTL, icmp.TIME_EXCEEDED4, 0)
NET: Final = Error(Verdict.SENT_NET_UNREACHABLE, icmp.UNREACHABLE4, icmp.NET_CODE)
HOST: Final = Error(Verdict.SENT_HOST_UNREACHABLE, icmp.UNREACHABLE4, icmp.HOST_CODE)
TOO_BIG: Final = Error(Verdict.SENT_TOO_BIG, icmp.UNREACHABLE4, icmp.FRAGMENTATION_CODE)
PROHIBITED: Final = Error(Verdict.SENT_PROHIBITED, icmp.UNREACHABLE4, icmp.PROHIBITED_CODE)

_ERRORS: Final[dict[int, tuple[Error, ...]]] = {
    Verdict.DROP_TTL: (TTL,),
    Verdict.DROP_NO_BINDING: (HOST,),
    Verdict.DROP_TOO_BIG: (TOO_BIG,),
    Verdict.DROP_TOO_BIG_V4: (TOO_BIG,),
    Verdict.DROP_UNREACHABLE: (NET, HOST),
    Verdict.DROP_HAIRPIN_OFF: (PROHIBITED,),
}
_NOT_POOL: Final = constant(RowKind.NOT_POOL, np.uint8)
_SHARED: Final = constant(RowKind.SHARED, np.uint8)
_LOCAL: Final = constant(RowKind.LOCAL, np.uint8)


class Refusals(KeepsNothing):
    """The step; `rules` say which verdicts are told at all."""

    turn_step = TurnStep.REFUSALS

    def __init__(self, around: Surroundings, reread: Rereader, errors: Errors4) -> None:
        rules = around.rules.icmp
        silent: set[int] = set()
        if not rules.host_unreachable:
            silent.add(Verdict.DROP_NO_BINDING)
        if not rules.prohibited:
            silent.add(Verdict.DROP_HAIRPIN_OFF)
        self.verdicts: Collection[int] = _ERRORS.keys() - silent
        self._reread = reread
        self._bindings = around.tables.bindings
        self._port_sets = around.port_sets
        self._route = around.route
        self._mtus = around.mtus
        self._errors = errors
        self._special: dict[int, Callable[[About, float], list[tuple[Error, About]]]] = {
            Verdict.DROP_TTL: self._out_of_time,
            Verdict.DROP_NO_BINDING: self._unbound,
            Verdict.DROP_TOO_BIG: self._larger_than_tunnel,
            Verdict.DROP_TOO_BIG_V4: self._larger_than_link,
            Verdict.DROP_UNREACHABLE: self._unreachable,
        }

    def work(self, arrivals: Arrivals, now_s: float, outcome: Outcome) -> None:
        """Send errors about the frames; their verdicts stay."""
        verdicts = outcome.verdicts[arrivals.rows]
        plain, tunnelled = self._reread.split(arrivals)
        if plain is not None:
            self._tell(verdicts[plain.rows], plain.at, False, now_s, outcome)
        if tunnelled is not None:
            inner_at = self._reread.outer(tunnelled).inner_at
            self._tell(verdicts[tunnelled.rows], inner_at, True, now_s, outcome)

    def unbound(self, now_s: float) -> Standing | None:
        """As `dstmrouter.pipeline.forward.Forwarder.unbound`."""
        if Verdict.DROP_NO_BINDING not in self.verdicts:
            return None
        return self._errors.standing(HOST, now_s)

    def _tell(
        self,
        verdicts: npt.NDArray[np.uint8],
        at: Index,
        clients: bool,
        now_s: float,
        outcome: Outcome,
    ) -> None:
        for verdict in np.flatnonzero(np.bincount(verdicts)).tolist():
            rows = np.flatnonzero(verdicts == verdict)
            errors = _ERRORS[verdict]
            if all(self._errors.exhausted(each, now_s, clients=clients) for each in errors):
                outcome.noted.append(Noted(Verdict.UNSENT_ICMPV4, len(rows), 0))
                continue
            about = About(self._reread.inner(at[rows]), clients)
            special = self._special.get(verdict)
            for error, part in [(errors[0], about)] if special is None else special(about, now_s):
                if len(part):
                    self._errors.send(error, part, now_s, outcome)

    def _out_of_time(self, about: About, _now_s: float) -> list[tuple[Error, About]]:
        return [(TTL, self._not_to_us(about))]

    def _unbound(self, about: About, _now_s: float) -> list[tuple[Error, About]]:
        """An ICMP message to no port set is nobody's: no host is missing (RFC 7596 section 8.1)."""
        packets = about.packets
        icmp4 = np.flatnonzero(packets.header["protocol"] == ipv4.PROTOCOL_ICMP)
        if len(icmp4):
            kinds = self._bindings.look_up(packets.dst[icmp4])["kind"]
            told = np.ones(len(about), np.bool_)
            told[icmp4[kinds == _SHARED]] = False
            about = about.take(np.flatnonzero(told))
        return [(HOST, about)]

    def _larger_than_tunnel(self, about: About, now_s: float) -> list[tuple[Error, About]]:
        about = self._not_to_us(about)
        clients = self._port_sets.look_up(about.packets, Side.DST)
        about.rest = self._mtus.tunnel_mtu(clients["client6"], now_s)
        return [(TOO_BIG, about)]

    def _larger_than_link(self, about: About, _now_s: float) -> list[tuple[Error, About]]:
        stays_whole = about.packets.header["fragment"] & ipv4.FLAG_DF != 0
        about = about.take(np.flatnonzero(stays_whole))
        about.rest = self._route.mtus(about.packets.dst)
        return [(TOO_BIG, about)]

    def _unreachable(self, about: About, _now_s: float) -> list[tuple[Error, About]]:
        """For whom the way through a tunnel is missing, that of one host is."""
        about = self._not_to_us(about)
        outside = self._kinds(about) == _NOT_POOL
        parts = (NET, np.flatnonzero(outside)), (HOST, np.flatnonzero(~outside))
        return [(error, about.take(rows)) for error, rows in parts]

    def _not_to_us(self, about: About) -> About:
        """Without packets to tep4: what was dropped is our answer to them."""
        return about.take(np.flatnonzero(self._kinds(about) != _LOCAL))

    def _kinds(self, about: About) -> npt.NDArray[np.uint8]:
        """RowKinds of the destinations."""
        kinds: npt.NDArray[np.uint8] = self._bindings.look_up(about.packets.dst)["kind"]
        return kinds
