"""The term of a lease, on the clock of the client that holds it (RFC 2131 section 4.4.5).

It counts from the moment at which the request was *sent*: whatever the answer took, the client's
term ends before the server's.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from dstmrouter.protocols.granted import GrantedLease

T1: Final = 0.5
T2: Final = 0.875
RETRY_MIN_S: Final = 60.0
SHORT_S: Final = 120.0  # of a lease this short, 60 s would be everything
SHORT_RETRY_MIN_S: Final = 1.0


@dataclasses.dataclass(frozen=True, slots=True)
class Term:
    """A lease, and the time at which it was asked for (seconds of the caller's clock)."""

    lease: GrantedLease
    sent_at: float

    @property
    def t1(self) -> float:
        """When to ask its server again."""
        return self.sent_at + T1 * self.lease.lifetime_s

    @property
    def t2(self) -> float:
        """When to ask any server."""
        return self.sent_at + T2 * self.lease.lifetime_s

    @property
    def expires_at(self) -> float:
        """When its address must no longer be used."""
        return self.sent_at + self.lease.lifetime_s

    def same_tunnel(self, other: Term) -> bool:
        """Whether the tunnel of `other` needs no change."""
        return _tunnel(self.lease) == _tunnel(other.lease)

    def retry_at(self, now: float, before: float) -> float:
        """When to ask again after a refusal at `now`: half of what remains until `before`."""
        short = self.lease.lifetime_s < SHORT_S
        return now + max((before - now) / 2, SHORT_RETRY_MIN_S if short else RETRY_MIN_S)


def _tunnel(lease: GrantedLease) -> tuple[object, ...]:
    return lease.client4, lease.client6, lease.tep4, lease.tep6, lease.port_set, lease.mtu
