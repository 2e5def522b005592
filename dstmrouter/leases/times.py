"""When a lease ends for whom, when it is renewed, and what is left of it after a restart.

A lease ends first at the client, then at the server, then at the routers: the client counts from
the moment it sent its request and in whole seconds downwards, the server keeps `until`, the routers
keep the binding for a grace longer, in whole seconds upwards. RFC 7596 section 7 wants the three to
agree; in this order no packet of a client that is in time meets a router that has forgotten it.

Times are monotonic seconds unless the name says `unix`.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np

from dstmrouter.binding import LIFETIME_FOREVER

if TYPE_CHECKING:
    import numpy.typing as npt

T1_SHARE: Final = 0.5  # RFC 2131 section 4.4.5
T2_SHARE: Final = 0.875
RETRY_MIN_S: Final = 60.0
SHORT_LEASE_S: Final = 120.0
SHORT_RETRY_MIN_S: Final = 1.0


def renewal_s(lifetime_s: float) -> float:
    """T1: how long after its start a client asks the server that granted it to renew the lease."""
    return T1_SHARE * lifetime_s


def rebinding_s(lifetime_s: float) -> float:
    """T2: how long after its start a client asks any server."""
    return T2_SHARE * lifetime_s


def retry_s(remaining_s: float, lifetime_s: float) -> float:
    """How long a client without an answer waits before it asks again, never beyond the end.

    Half of what remains, at least a minute, or a second for short leases (RFC 2131 section 4.4.5).
    """
    least_s = SHORT_RETRY_MIN_S if lifetime_s < SHORT_LEASE_S else RETRY_MIN_S
    return min(max(remaining_s / 2, least_s), max(remaining_s, 0.0))


def client_lifetime_s(until: float, now: float) -> int:
    """What a client is told, in whole seconds: not more than the server keeps; 0 is over."""
    return max(0, math.floor(until - now))


def routers_until(until: float, grace_s: float) -> float:
    """The time from which no router has the binding, whatever messages were lost."""
    return until + grace_s


def binding_lifetimes_s(
    until: npt.NDArray[np.float64], now: float, grace_s: float
) -> npt.NDArray[np.uint32]:
    """What routers are told, in whole seconds: not less than until `routers_until`; 0 is over."""
    left = np.ceil(until + grace_s - now)
    return np.clip(left, 0, LIFETIME_FOREVER - 1).astype(np.uint32)


class Moment(NamedTuple):
    """One reading of both clocks; the monotonic one counts from `boot`."""

    unix: float
    monotonic: float
    boot: int


class StoredTimes(NamedTuple):
    """When states end, as columns of one length, by both clocks of the run that wrote them."""

    unix: npt.NDArray[np.float64]
    monotonic: npt.NDArray[np.float64]
    boot: npt.NDArray[np.int64]
    written_unix: npt.NDArray[np.float64]


def restored_until(stored: StoredTimes, first: Moment) -> npt.NDArray[np.float64]:
    """When states end by the monotonic clock of this boot; `first` is when its first run began.

    Within one boot of the machine the monotonic clock goes on, so it does not matter if the wall
    clock is set: what this boot wrote has its time, and what an earlier one wrote is understood as
    the first run understood it, by the wall clock. If that was set back over the boot, no more is
    left than there was at the time of writing; if it was set forward, leases end early.
    """
    left = np.minimum(stored.unix - first.unix, stored.unix - stored.written_unix)
    return np.where(stored.boot == first.boot, stored.monotonic, first.monotonic + left)
