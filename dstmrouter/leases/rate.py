"""How often may be asked: token buckets per /64 and for everybody together.

A bucket is one number, the time at which it will be full again (the generic cell rate algorithm,
ITU-T I.371): a token moves it on by the interval between tokens. Buckets that are full need not be
kept, and at most `BUCKETS_MAX` are: who can ask from more prefixes than that meets the common one.
"""

from __future__ import annotations

import dataclasses
from collections import OrderedDict
from typing import TYPE_CHECKING, Final

from dstmrouter.errors import LeaseError
from dstmrouter.leases.quota import first_word

if TYPE_CHECKING:
    from ipaddress import IPv6Address

BUCKETS_MAX: Final = 65_536  # 10 MB


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Rate:
    """Requests per second in the long run, and how many at once; `per_s` 0 is no limit."""

    per_s: float = 0.0
    burst: int = 1


class TokenBuckets:
    """One bucket of `rate` for each key; the `limit` used last are remembered."""

    def __init__(self, rate: Rate, limit: int = BUCKETS_MAX) -> None:
        self._interval_s = 1 / rate.per_s if rate.per_s else 0.0
        self._burst_s = (rate.burst - 1) * self._interval_s
        self._limit = limit
        self._full_at: OrderedDict[int, float] = OrderedDict()

    def __len__(self) -> int:
        return len(self._full_at)

    def wait_s(self, key: int, now: float) -> float:
        """How long until there is a token; 0: there is one."""
        return max(0.0, self._full_at.get(key, now) - now - self._burst_s)

    def take(self, key: int, now: float) -> None:
        """Take a token, which `wait_s` said is there."""
        if not self._interval_s:
            return
        self._full_at[key] = max(self._full_at.pop(key, now), now) + self._interval_s
        if len(self._full_at) > self._limit:
            self._full_at.popitem(last=False)

    def try_take(self, key: int, now: float) -> bool:
        """Take a token; False when there is none."""
        if self.wait_s(key, now) > 0:
            return False
        self.take(key, now)
        return True


class Throttle:
    """Admits requests at `per_64` from each /64 and at `total` from all."""

    def __init__(self, *, per_64: Rate, total: Rate) -> None:
        self._per_64 = TokenBuckets(per_64)
        self._total = TokenBuckets(total)
        self.refused = 0

    def admit(self, client6: IPv6Address, now: float, *, holds: bool) -> None:
        """Let a request through, or refuse it with `rate-limit`; a refusal costs no token.

        Who `holds` a lease meets the limit of its own /64 only: a flood of strangers must not keep
        leases from being extended.
        """
        key = first_word(client6)
        wait_s = self._per_64.wait_s(key, now)
        if not holds:
            wait_s = max(wait_s, self._total.wait_s(0, now))
        if wait_s > 0:
            self.refused += 1
            raise LeaseError("rate-limit", f"too many requests, try again in {wait_s:.1f} s")
        self._per_64.take(key, now)
        if not holds:
            self._total.take(0, now)
