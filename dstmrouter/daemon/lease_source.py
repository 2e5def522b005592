"""Where a client gets its lease: the same four questions in whichever protocol."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from dstmrouter.errors import DstmError

if TYPE_CHECKING:
    from ipaddress import IPv4Address, IPv6Address

    from dstmrouter.protocols.granted import GrantedLease


class SourceError(DstmError):
    """The server did not answer, or said no; `retry_after_s` is its hint, `final` a plain no.

    A plain no (bad credentials, not allowed) is not worth asking the same server again soon.
    """

    def __init__(
        self, text: str, *, retry_after_s: float | None = None, final: bool = False
    ) -> None:
        super().__init__(text)
        self.retry_after_s = retry_after_s
        self.final = final


class LeaseSource(Protocol):
    """One server, one protocol; connects when first asked and again whenever it must."""

    async def obtain(
        self, client6: IPv6Address, *, hint4: IPv4Address | None, lifetime_s: int | None
    ) -> GrantedLease:
        """Ask for an address, and take it; `SourceError` when there is none."""
        ...

    async def renew(self, lease: GrantedLease, *, lifetime_s: int | None) -> GrantedLease:
        """Extend `lease`; the answer may be another address."""
        ...

    async def release(self, lease: GrantedLease) -> None:
        """Give `lease` back."""
        ...

    async def close(self) -> None:
        """Close connections; harmless when repeated."""
        ...
