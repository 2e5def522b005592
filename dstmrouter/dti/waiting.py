"""Packets that the host wants to send while there is no lease yet.

They carry `INTERIM4`, the address that dti has until then. Few are kept, and not for long: a packet
that comes late is worse than one that does not come, since its sender has sent it again.
"""

from __future__ import annotations

from collections import deque
from ipaddress import IPv4Address
from typing import Final

from dstmrouter.dti.packet import check_outward
from dstmrouter.dti.verdict import Verdict

INTERIM4: Final = IPv4Address("192.0.0.2")  # RFC 7335: for the client's end of a 4over6 tunnel
PACKETS: Final = 8
KEPT_S: Final = 3.0


class WaitingRoom:
    """At most PACKETS, each for KEPT_S; `now` is seconds of any clock that goes forward."""

    def __init__(self) -> None:
        self._packets: deque[tuple[float, bytes]] = deque()

    def admit(self, packet: memoryview, now: float) -> Verdict:
        """Keep a copy of `packet`; OUT_WAITING, or the reason why not."""
        while self._packets and self._packets[0][0] + KEPT_S < now:
            self._packets.popleft()
        verdict = check_outward(packet, INTERIM4.packed)
        if verdict is not Verdict.OUT_SENT:
            return verdict
        if len(self._packets) >= PACKETS:
            return Verdict.OUT_NO_LEASE
        self._packets.append((now, bytes(packet)))
        return Verdict.OUT_WAITING

    def leave(self, now: float) -> list[bytes]:
        """All that are still worth sending; the room is empty afterwards."""
        kept = [packet for since, packet in self._packets if since + KEPT_S >= now]
        self._packets.clear()
        return kept
