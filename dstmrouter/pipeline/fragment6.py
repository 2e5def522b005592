"""Packets larger than their tunnel: encapsulated, then fragmented in IPv6 (RFC 2473 7.2, R18).

The first piece stays in its frame, its headers written before it; the others are copied. What is
cut is the packet behind the IPv6 header: the IPv4 packet, and before it the encapsulation limit if
that is sent (R9).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np
import numpy.typing as npt

from dstmrouter.pipeline.copying import copy
from dstmrouter.pipeline.egress import Form, FragmentFill, PortWriter, TunnelFill
from dstmrouter.pipeline.fragment_ids import FragmentIds
from dstmrouter.pipeline.memory import pick
from dstmrouter.pipeline.outcome import Made, Outcome, Send, by_port
from dstmrouter.pipeline.pieces import Pieces, cut, whole_units
from dstmrouter.pipeline.rules import TUNNEL_HEADER_LEN, TunnelRules, WorkerIdentity
from dstmrouter.pipeline.verdict import Verdict
from dstmrouter.wire import ipv6

if TYPE_CHECKING:
    from dstmrouter.pipeline.memory import FrameMemory
    from dstmrouter.pipeline.rare import FrameSource
    from dstmrouter.pipeline.way import Way

_HEADERS_LEN: Final = ipv6.HEADER_LEN + ipv6.FRAGMENT_LEN
_ENCAPSULATED: Final = np.uint8(Verdict.ENCAPSULATED)


class Fragmenter6:
    """Cuts packets and sends the pieces."""

    def __init__(
        self,
        memory: FrameMemory,
        rules: TunnelRules,
        frames: FrameSource,
        identity: WorkerIdentity,
    ) -> None:
        self._memory = memory
        self._rules = rules
        self._frames = frames
        self._option_len = rules.overhead - TUNNEL_HEADER_LEN
        self._ids = FragmentIds(identity)
        self._first: list[PortWriter] = []
        self._later: list[PortWriter] = []

    def follow(self, ports: npt.NDArray[np.void]) -> None:
        """Take over what ports are like now; dtype PORT."""
        self._first, self._later = (
            [PortWriter(self._memory, port, self._rules, form) for port in ports]
            for form in (Form.FIRST, Form.LATER)
        )

    def send(
        self,
        way: Way,
        vtc_flow: npt.NDArray[np.uint64],
        path_mtus: npt.NDArray[np.int64],
        outcome: Outcome,
    ) -> None:
        """Send n packets in pieces of `path_mtus` octets at most, all of them larger than that.

        `vtc_flow` are the first 32 bits of the IPv6 headers; both have shape (n,).
        """
        size = way.packets.total_len + self._option_len
        step = whole_units(path_mtus - _HEADERS_LEN)
        pieces, served = cut(self._frames, size, step)
        if served is not None:
            outcome.verdicts[np.delete(way.rows, served)] = Verdict.DROP_NO_FRAME
            if not len(served):
                return
            way, vtc_flow, step = way.take(served), vtc_flow[served], step[served]
        rows = way.rows
        outcome.verdicts[rows[outcome.verdicts[rows] == _ENCAPSULATED]] = Verdict.FRAGMENTED
        ids = self._ids.draw(len(rows))
        self._send_later(way, vtc_flow, pieces, ids, outcome)
        self._send_first(way, vtc_flow, step, ids, outcome)

    def _send_first(
        self,
        way: Way,
        vtc_flow: npt.NDArray[np.uint64],
        step: npt.NDArray[np.int64],
        ids: npt.NDArray[np.uint32],
        outcome: Outcome,
    ) -> None:
        hops, packets = way.hops, way.packets
        offset = np.full(len(ids), ipv6.FLAG_MORE)
        for port, part in by_port(hops["port"]):
            writer = self._first[port]
            at, octets = packets.at[part], step[part] - self._option_len
            fill = TunnelFill(
                hops["mac"][part], way.clients[part], vtc_flow[part], packets.header["octets"][part]
            )
            writer.write_tunnel(at, octets, fill, FragmentFill(offset[part], ids[part]))
            before = writer.tunnel_len + writer.link_len
            outcome.sends.append(Send(port, way.rows[part], at - before, octets + before))

    def _send_later(
        self,
        way: Way,
        vtc_flow: npt.NDArray[np.uint64],
        pieces: Pieces,
        ids: npt.NDArray[np.uint32],
        outcome: Outcome,
    ) -> None:
        of = pieces.of
        hops, clients = way.hops[of], pick(way.clients, of)
        source = way.packets.at[of] - self._option_len + pieces.start
        more = pieces.start + pieces.size < way.packets.total_len[of] + self._option_len
        offset = pieces.start | more * ipv6.FLAG_MORE
        for port, part in by_port(hops["port"]):
            writer = self._later[port]
            at, octets = pieces.ip_at[part] + _HEADERS_LEN, pieces.size[part]
            inner = way.packets.header["octets"][of][part]  # overwritten by what is copied
            fill = TunnelFill(hops["mac"][part], clients[part], vtc_flow[of][part], inner)
            writer.write_tunnel(at, octets, fill, FragmentFill(offset[part], ids[of][part]))
            copy(self._memory, at, source[part], octets)
            before = writer.tunnel_len + writer.link_len
            verdicts = np.full(len(at), Verdict.SENT_PIECE, np.uint8)
            outcome.made.append(Made(port, verdicts, at - before, octets + before))
