"""Which neighbour has which next hop, and when the kernel is to be asked about it.

The book is bounded by the hop table. A number that nobody names any more is used again only after
all workers have passed a quiescent point, because a burst may still hold it.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Final, TypeAlias

import numpy as np
import numpy.typing as npt

from dstmrouter.pipeline.hops import FIXED_HOPS, NO_MAC, UNREACHABLE_HOP, HopState

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from dstmrouter.io.kernelobjects import NeighbourKey
    from dstmrouter.pipeline.hops import HopTable
    from dstmrouter.pipeline.quiescence import Snapshot, Turns

    Describe: TypeAlias = Callable[[NeighbourKey], tuple[bytes, int, HopState]]

RETRY_S: Final = 1.0  # an unresolved neighbour; the kernel's own interval (RFC 4861 RETRANS_TIMER)
CONFIRM_S: Final = 20.0  # a neighbour in use: before its entry counts as old (gc_stale_time, 60 s)
SPREAD_S: Final = 5.0  # over which confirmations are spread, so that they do not come all at once
NEVER: Final = np.inf


class HopBook:
    """Numbers of next hops by neighbour; `describe` gives MAC address, port and state of one."""

    def __init__(self, table: HopTable, turns: Turns, describe: Describe) -> None:
        self._table = table
        self._turns = turns
        self._describe = describe
        self._hops: dict[NeighbourKey, int] = {}
        self._keys: dict[int, NeighbourKey] = {}
        self._states: dict[int, HopState] = {}
        self._ask_at: npt.NDArray[np.float64] = np.full(len(table), NEVER)  # seconds
        self._free = list(range(len(table) - 1, FIXED_HOPS - 1, -1))
        self._retired: deque[tuple[Snapshot, list[int]]] = deque()
        self.refused = 0  # requests for a hop when there was none left

    def __len__(self) -> int:
        return len(self._hops)

    def hop_of(self, key: NeighbourKey, now: float) -> int:
        """The hop of a neighbour, a new one if need be; UNREACHABLE_HOP if all are taken."""
        hop = self._hops.get(key)
        if hop is not None:
            return hop
        if not self.has_room():
            self.refused += 1
            return UNREACHABLE_HOP
        hop = self._free.pop()
        self._hops[key] = hop
        self._keys[hop] = key
        self._publish(hop, key, now)
        return hop

    def has_room(self) -> bool:
        """Whether there is a hop for one more neighbour now."""
        if not self._free:
            self._reclaim()
        return bool(self._free)

    def refresh(self, keys: Iterable[NeighbourKey], now: float) -> None:
        """Publish what has changed about neighbours; those without a hop are passed over."""
        for key in keys:
            hop = self._hops.get(key)
            if hop is not None:
                self._publish(hop, key, now)

    def refresh_links(self, ifindexes: set[int], now: float) -> None:
        """Publish all hops of these links again."""
        self.refresh([key for key in self._hops if key[0] in ifindexes], now)

    def release_all_but(self, used: npt.NDArray[np.bool_]) -> int:
        """Release every hop that `used`, one flag a hop, does not name; return how many."""
        gone = [hop for hop in self._keys if not used[hop]]
        for hop in gone:
            del self._hops[self._keys.pop(hop)]
            del self._states[hop]
            self._ask_at[hop] = NEVER
            self._table.set(hop, NO_MAC, 0, HopState.UNREACHABLE)
        if gone:
            self._retired.append((self._turns.snapshot(), gone))
        self._reclaim()
        return len(gone)

    def to_ask(self, now: float, limit: int) -> list[NeighbourKey]:
        """Neighbours to ask the kernel about, those first that have waited longest."""
        due = np.flatnonzero(self._ask_at <= now)
        due = due[np.argsort(self._ask_at[due], kind="stable")][:limit]
        hops: list[int] = due.tolist()
        for hop in hops:
            self._schedule(hop, now)
        return [self._keys[hop] for hop in hops]

    def _publish(self, hop: int, key: NeighbourKey, now: float) -> None:
        mac, port, state = self._describe(key)
        self._table.set(hop, mac, port, state)
        if self._states.get(hop) is state:
            return  # an attempt that failed must not lead to the next at once
        self._states[hop] = state
        if state is HopState.UNRESOLVED:
            self._ask_at[hop] = now
        else:
            self._schedule(hop, now)

    def _schedule(self, hop: int, now: float) -> None:
        match self._states[hop]:
            case HopState.UNRESOLVED:
                self._ask_at[hop] = now + RETRY_S
            case HopState.RESOLVED:
                self._ask_at[hop] = now + CONFIRM_S + SPREAD_S * (hop % 64) / 64
            case _:
                self._ask_at[hop] = NEVER

    def _reclaim(self) -> None:
        while self._retired and self._turns.passed(self._retired[0][0]):
            self._free.extend(self._retired.popleft()[1])
