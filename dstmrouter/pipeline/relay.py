"""ICMPv6 errors about tunnel packets, told to the IPv4 sources of those: a step (R21, R22).

RFC 2473 sections 8.1 and 8.3. Nothing is believed that does not quote a packet which we may have
sent. A fixed number of errors is looked at for a burst: their checksums cover all they quote.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Final

import numpy as np

from dstmrouter.pipeline import icmp6
from dstmrouter.pipeline.bindings import RowKind
from dstmrouter.pipeline.icmp4 import About, Error
from dstmrouter.pipeline.rare import KeepsNothing
from dstmrouter.pipeline.verdict import Verdict
from dstmrouter.runtime import TurnStep
from dstmrouter.wire import icmp, ipv4
from dstmrouter.wire.constant import constant

if TYPE_CHECKING:
    from collections.abc import Collection

    from dstmrouter.pipeline.decide import Mask
    from dstmrouter.pipeline.embedded import Embedded, EmbeddedReader
    from dstmrouter.pipeline.errors4 import Errors4
    from dstmrouter.pipeline.link import Packets
    from dstmrouter.pipeline.memory import Index, Records
    from dstmrouter.pipeline.outcome import Outcome
    from dstmrouter.pipeline.rare import Arrivals
    from dstmrouter.pipeline.reread import Rereader
    from dstmrouter.pipeline.surroundings import Surroundings

UNREACHABLE: Final = Error(Verdict.SENT_RELAYED_UNREACHABLE, icmp.UNREACHABLE4, icmp.HOST_CODE)
TOO_BIG: Final = Error(Verdict.SENT_RELAYED_TOO_BIG, icmp.UNREACHABLE4, icmp.FRAGMENTATION_CODE)
LEAST_MTU: Final = 1280  # octets; RFC 8201 section 4: a smaller one is nobody's
LIMIT_POINTER: Final = 44  # octets into a tunnel packet: our encapsulation limit
_MOST4: Final = 0xFFFF
_NOT_POOL: Final = constant(RowKind.NOT_POOL, np.uint8)
_LOCAL: Final = constant(RowKind.LOCAL, np.uint8)


@dataclasses.dataclass(slots=True)
class _Messages:
    """Errors that are valid, n of them."""

    rows: Index  # of the burst
    message: Records  # dtype icmp.HEADER
    quoted: Embedded

    def take(self, mask: Mask) -> _Messages:
        keep = np.flatnonzero(mask)
        return _Messages(self.rows[keep], self.message[keep], self.quoted.take(keep))


class Relay(KeepsNothing):
    """The step; without `errors` it only takes note of MTUs."""

    turn_step = TurnStep.RELAY
    verdicts: Collection[int] = (Verdict.DROP_ICMPV6,)

    def __init__(
        self,
        around: Surroundings,
        reread: Rereader,
        embedded: EmbeddedReader,
        errors: Errors4 | None,
    ) -> None:
        self._reread = reread
        self._embedded = embedded
        self._bindings = around.tables.bindings
        self._mtus = around.mtus
        self._errors = errors
        self._most = around.rules.icmp.burst_limit

    def work(self, arrivals: Arrivals, now_s: float, outcome: Outcome) -> None:
        """Check the errors in the frames, learn from them, and pass them on."""
        outcome.verdicts[arrivals.rows[self._most :]] = Verdict.DROP_ICMPV6_FLOOD
        arrivals = arrivals.take(slice(self._most))
        outcome.verdicts[arrivals.rows] = Verdict.DROP_ICMPV6_BAD
        _, packets = self._reread.split(arrivals)
        assert packets is not None, "ICMPv6 is in IPv6 packets"
        packets.rows = arrivals.rows[packets.rows]
        valid = self._validated(packets, now_s)
        too_big = valid.message["type"] == icmp.PACKET_TOO_BIG6
        self._learn(valid.take(too_big), now_s, outcome)
        self._pass_on(valid.take(~too_big), now_s, outcome)

    def _validated(self, packets: Packets, now_s: float) -> _Messages:
        outer = self._reread.outer(packets)
        at, length = outer.inner_at, outer.inner_room
        message = self._reread.memory.read(at, icmp.HEADER)
        quoted = self._embedded.read(at + icmp.HEADER_LEN, length - icmp.HEADER_LEN)
        valid = self._embedded.ours(quoted, int(now_s))
        later = np.flatnonzero(quoted.later_piece)
        if len(later):
            pieces = quoted.take(later)
            known = self._mtus.known(pieces.header["dst"])
            valid[later] = known & self._embedded.from_us(pieces)
        keep = np.flatnonzero(valid)
        where = (self._reread.memory, at[keep], length[keep], outer.header[keep])
        keep = keep[icmp6.intact(*where)]
        return _Messages(packets.rows[keep], message[keep], quoted.take(keep))

    def _learn(self, messages: _Messages, now_s: float, outcome: Outcome) -> None:
        """Packet Too Big: its MTU has 32 bits. Sources learn if DF says that they want to."""
        messages = messages.take(messages.message["rest"] >= LEAST_MTU)
        outcome.verdicts[messages.rows] = Verdict.DROP_ICMPV6_NOTED
        mtu = messages.message["rest"].astype(np.int64)
        self._mtus.learn(messages.quoted.header["dst"], mtu, now_s)
        header = messages.quoted.inner.header
        told = messages.take(messages.quoted.whole & (header["fragment"] & ipv4.FLAG_DF != 0))
        mtu4 = told.message["rest"].astype(np.int64) - told.quoted.overhead
        now = self._mtus.tunnel_mtu(told.quoted.header["dst"], now_s)
        about = About(told.quoted.inner, False, np.minimum(np.minimum(mtu4, now), _MOST4))
        self._send(TOO_BIG, told.rows, about, now_s, outcome)

    def _pass_on(self, messages: _Messages, now_s: float, outcome: Outcome) -> None:
        outcome.verdicts[messages.rows] = Verdict.DROP_ICMPV6_NOTED
        kind, code = messages.message["type"], messages.message["code"]
        lost = kind == icmp.UNREACHABLE6
        lost |= (kind == icmp.TIME_EXCEEDED6) & (code == icmp.HOP_LIMIT_CODE)
        lost |= (
            (kind == icmp.PARAMETER_PROBLEM6)
            & (messages.message["rest"] == LIMIT_POINTER)
            & messages.quoted.has_limit
        )
        told = messages.take(lost & messages.quoted.whole)
        self._send(UNREACHABLE, told.rows, About(told.quoted.inner, False), now_s, outcome)

    def _send(
        self, error: Error, rows: Index, about: About, now_s: float, outcome: Outcome
    ) -> None:
        """Send to the sources, but not to ourselves."""
        if self._errors is None or not len(rows):
            return
        kinds = self._bindings.look_up(about.packets.src)["kind"]
        outside = kinds == _NOT_POOL
        for mask, clients in ((outside, False), (~outside & (kinds != _LOCAL), True)):
            keep = np.flatnonzero(mask)
            if len(keep):
                outcome.verdicts[rows[keep]] = Verdict.DROP_ICMPV6
                part = about.take(keep)
                part.clients = clients
                self._errors.send(error, part, now_s, outcome)
