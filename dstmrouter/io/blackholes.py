"""Discard routes for the pools of the router.

Without one, a packet for an address that nobody holds follows the default route back to where it
came from, and loops until its TTL is used up (RFC 6324 describes the attack).
"""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING, Final

from dstmrouter.errors import SystemCallError
from dstmrouter.io import rtdecode, rtnetlink
from dstmrouter.io.kernelobjects import Route, RouteKind

if TYPE_CHECKING:
    from ipaddress import IPv4Network

PROTOCOL: Final = 213  # rtm_protocol: nobody has it in iproute2's etc/iproute2/rt_protos
DISCARDS: Final = (RouteKind.BLACKHOLE, RouteKind.UNREACHABLE, RouteKind.PROHIBIT)


def add_blackhole(prefix: IPv4Network) -> bool:
    """Discard what has no better route within `prefix`; False if that was so before.

    Raises SystemCallError, also if another route to exactly this prefix leads elsewhere.
    """
    try:
        rtnetlink.add_discard_route(prefix, PROTOCOL)
    except SystemCallError as error:
        if error.errno != errno.EEXIST or not _is_discarded(prefix):
            raise
        return False
    return True


def remove_blackhole(prefix: IPv4Network) -> bool:
    """Remove what `add_blackhole` added; False if there is none of ours. Raises SystemCallError."""
    try:
        rtnetlink.remove_discard_route(prefix, PROTOCOL)
    except SystemCallError as error:
        if error.errno != errno.ESRCH:
            raise
        return False
    return True


def _is_discarded(prefix: IPv4Network) -> bool:
    """Whether the first route to exactly `prefix`, of metric 0, discards."""
    for kind in DISCARDS:
        for message in rtnetlink.dump_routes_of_kind(kind):
            notice = rtdecode.decode(message)
            if notice is None or not isinstance(notice.about, Route):
                continue
            if notice.about.dst == prefix and notice.about.metric == 0:
                return True
    return False
