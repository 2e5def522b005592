"""What a TSP server's answers mean to a client: a lease, a refusal, or word of a lease it took."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from dstmrouter.daemon.lease_source import SourceError
from dstmrouter.protocols.granted import GrantedLease
from dstmrouter.protocols.tsp_client import Answered, Failed, Refused
from dstmrouter.protocols.tsp_status import Status

if TYPE_CHECKING:
    from ipaddress import IPv6Address

    from dstmrouter.protocols.tsp_client import Event
    from dstmrouter.protocols.tsp_xml import Tunnel

DEFAULT_LIFETIME: Final = 1440  # of the attribute, in the DTD of RFC 5572
BUSY_S: Final = 5.0
FINAL: Final = frozenset(
    {
        Status.AUTHENTICATION_FAILED,
        Status.BAD_VERSION,
        Status.BAD_TUNNEL_TYPE,
        Status.BAD_IPV6,
        Status.IN_USE,
    }
)
"""What asking again does not change."""

NOT_HELD: Final = frozenset({Status.NO_TUNNEL, Status.SERVER_ERROR, Status.IN_USE})
"""What a server says that has no lease for us; any other no is to the question itself."""


def granted(client6: IPv6Address, tunnel: Tunnel | None, lifetime_unit_s: int) -> GrantedLease:
    """The lease in an answer, which must have all four addresses."""
    server = tunnel.server if tunnel is not None else None
    client = tunnel.client if tunnel is not None else None
    if tunnel is None or server is None or client is None:
        raise SourceError("an answer without server and client")
    if server.ipv4 is None or server.ipv6 is None or client.ipv4 is None:
        raise SourceError("an answer without all addresses")
    if client.ipv6 != client6:
        raise SourceError(f"an answer for {client.ipv6} instead of {client6}")
    lifetime_s = tunnel.lease_s
    if lifetime_s is None:
        minutes = DEFAULT_LIFETIME if tunnel.lifetime_min is None else tunnel.lifetime_min
        lifetime_s = minutes * lifetime_unit_s
    keepalive = client.keepalive
    return GrantedLease(
        client4=client.ipv4,
        client6=client6,
        tep4=server.ipv4,
        tep6=server.ipv6,
        lifetime_s=lifetime_s,
        keepalive_s=(keepalive.interval_s or None) if keepalive is not None else None,
    )


def refusal(status: int) -> SourceError:
    """What a refusal means for the next question."""
    known = {known.value: known.text for known in Status}
    text = f"refused: {status} {known.get(status, '')}".rstrip()
    final = status in FINAL
    return SourceError(text, retry_after_s=None if final else BUSY_S, final=final)


def loss(lease: GrantedLease, event: Event) -> str | None:
    """Why `lease`, just accepted, is not ours by what the server said of it; None: it may be.

    A server that does not know `info` has said nothing about the lease.
    """
    if isinstance(event, Answered):
        client = event.tunnel.client if event.tunnel is not None else None
        if client is None or client.ipv4 in {None, lease.client4}:
            return None
        return f"the server has {client.ipv4} for us, not {lease.client4}"
    if isinstance(event, Refused):
        return str(refusal(event.status)) if event.status in NOT_HELD else None
    return event.why if isinstance(event, Failed) else "the server sends us elsewhere"
