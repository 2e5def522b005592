"""The one question that a client has asked and that is not answered yet."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dstmrouter.protocols.clientaction import Ask

if TYPE_CHECKING:
    from ipaddress import IPv4Address, IPv6Address

    from dstmrouter.protocols.granted import GrantedLease


class OpenQuestion:
    """Numbers the questions, so that a late answer is not taken for that to the next one."""

    def __init__(self) -> None:
        self._serial = 0
        self._open: tuple[Ask, float] | None = None  # and when it was sent

    def __bool__(self) -> bool:
        return self._open is not None

    def put(
        self,
        now: float,
        *,
        server: int,
        client6: IPv6Address,
        hint4: IPv4Address | None,
        renew: GrantedLease | None,
    ) -> Ask:
        """Ask, at `now`; nothing else may be open."""
        assert self._open is None, "two questions at a time"
        self._serial += 1
        ask = Ask(serial=self._serial, server=server, client6=client6, hint4=hint4, renew=renew)
        self._open = ask, now
        return ask

    def answered(self, serial: int) -> tuple[Ask, float] | None:
        """Close the question of that number; it and when it was sent, None if it is not open."""
        found = self._open
        if found is None or found[0].serial != serial:
            return None
        self._open = None
        return found

    def drop(self) -> bool:
        """Close whatever is open; whether something was."""
        was_open = self._open is not None
        self._open = None
        return was_open
