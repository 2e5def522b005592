"""Routers as the rules of lending see them: they do what they are told, forget, and go missing."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from dstmrouter.binding import OP_PUT, BindingColumns, address4, address6

if TYPE_CHECKING:
    from ipaddress import IPv4Address, IPv6Address


class Router:
    """Bindings with the time at which they end by themselves, and since when which is gone."""

    def __init__(self) -> None:
        self.present = True
        self.bindings: dict[IPv4Address, tuple[IPv6Address, float]] = {}
        self.gone_at: dict[IPv4Address, float] = {}

    def told(self, columns: BindingColumns, now: float) -> None:
        """Apply a change, if it arrives."""
        if not self.present:
            return
        for op, ipv4, words, lifetime_s in zip(
            columns.op, columns.ipv4, columns.client6, columns.lifetime_s, strict=True
        ):
            address = address4(ipv4)
            self._remove(address, now)
            if op == OP_PUT:
                self.bindings[address] = (address6(words), now + int(lifetime_s))

    def replaced(self, columns: BindingColumns, now: float) -> None:
        """Apply a snapshot: what is not in it goes."""
        for address in list(self.bindings):
            self._remove(address, now)
        self.told(columns, now)

    def forwards(self, address: IPv4Address, now: float) -> IPv6Address | None:
        """The client for whom packets are forwarded."""
        client6, until = self.bindings.get(address, (None, 0.0))
        return client6 if until > now else None

    def gone_since(self, address: IPv4Address) -> float:
        """Since when nothing is forwarded: later than now while it is."""
        if address in self.bindings:
            return self.bindings[address][1]
        return self.gone_at.get(address, NEVER)

    def _remove(self, address: IPv4Address, now: float) -> None:
        if address in self.bindings:
            self.gone_at[address] = min(now, self.bindings.pop(address)[1])


NEVER: Final = float("-inf")
