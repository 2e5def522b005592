"""Routers as the rules of lending see them: they do what they are told, forget, and go missing."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from dstmrouter.binding import OP_PUT, BindingColumns, address4, address6

if TYPE_CHECKING:
    from ipaddress import IPv6Address

    from dstmrouter.leases.lease import Share


class Router:
    """Bindings with the time at which they end by themselves, and since when which is gone."""

    def __init__(self) -> None:
        self.present = True
        self.bindings: dict[Share, tuple[IPv6Address, float]] = {}
        self.gone_at: dict[Share, float] = {}

    def told(self, columns: BindingColumns, now: float) -> None:
        """Apply a change, if it arrives."""
        if not self.present:
            return
        shares = zip(map(address4, columns.ipv4), columns.psid.tolist(), strict=True)
        for op, share, words, lifetime_s in zip(
            columns.op, shares, columns.client6, columns.lifetime_s, strict=True
        ):
            self._remove(share, now)
            if op == OP_PUT:
                self.bindings[share] = (address6(words), now + int(lifetime_s))

    def replaced(self, columns: BindingColumns, now: float) -> None:
        """Apply a snapshot: what is not in it goes."""
        for share in list(self.bindings):
            self._remove(share, now)
        self.told(columns, now)

    def forwards(self, share: Share, now: float) -> IPv6Address | None:
        """The client for whom packets are forwarded."""
        client6, until = self.bindings.get(share, (None, 0.0))
        return client6 if until > now else None

    def gone_since(self, share: Share) -> float:
        """Since when nothing is forwarded: later than now while it is."""
        if share in self.bindings:
            return self.bindings[share][1]
        return self.gone_at.get(share, NEVER)

    def _remove(self, share: Share, now: float) -> None:
        if share in self.bindings:
            self.gone_at[share] = min(now, self.bindings.pop(share)[1])


NEVER: Final = float("-inf")
