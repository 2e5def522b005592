"""When a lease ends for whom, and what is left of it after a restart.

A lease ends first at the client, then at the server, then at the routers: the client counts from
the moment it sent its request and in whole seconds downwards, the server keeps `until`, the routers
keep the binding for a grace longer, in whole seconds upwards. RFC 7596 section 7 wants the three to
agree; in this order no packet of a client that is in time meets a router that has forgotten it.

Times are monotonic seconds unless the name says `unix`.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from dstmrouter.binding import LIFETIME_FOREVER

if TYPE_CHECKING:
    import numpy.typing as npt


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
