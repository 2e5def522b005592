"""Usage of bindings as the supervisor keeps it: of those that last, and of those that have ended.

Rows are used again. When a binding ends or changes, its row is retired with all others, and once no
worker can see it any more its record is final: it is taken over into a list, and the row begins at
zero for whoever has it next. The list has a limit; its oldest entries go first, and who reads it
by numbers sees that. Private to the supervisor; nothing is listed before counting was ever on.

What is counted for one binding is an **account**. Its number is that of the row, and how often the
row has been used before: no two accounts of a run have the same.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np
import numpy.typing as npt

from dstmrouter.pipeline.bindings import FIXED_ROWS

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from dstmrouter.pipeline.bindings import BindingTable
    from dstmrouter.pipeline.memory import Index, Records
    from dstmrouter.pipeline.usage import UsageTable

ENDED: Final = np.dtype(
    [
        ("client6", "<u8", (2,)),  # wire words
        ("usage", "<u8", (4,)),  # by the numbers of `usage`
        ("account", "<u8"),
        ("until", "<f8"),  # seconds since 1970
        ("ipv4", "<u4"),
        ("psid", "<u2"),
        ("source", "<u2"),  # see `UsageBook.source_name`
        ("psid_offset", "u1"),
        ("psid_len", "u1"),
    ]
)
ENDED_KEPT: Final = 1 << 18  # 23 MB when it is full
_UNKNOWN: Final = 0
_ROW_BITS: Final = np.uint64(32)
_SOURCES_MAX: Final = 0xFFFF


class UsageBook:
    """What was counted, by row and by binding that has ended.

    `owners` tells numbers of sources for places, and the names of these; `clock` tells seconds
    since 1970.
    """

    def __init__(
        self,
        bindings: BindingTable,
        usage: UsageTable,
        owners: Callable[[npt.NDArray[np.uint32]], tuple[npt.NDArray[np.uint8], Mapping[int, str]]],
        clock: Callable[[], float],
        capacity: int = ENDED_KEPT,
    ) -> None:
        self._bindings = bindings
        self._usage = usage
        self._owners = owners
        self._clock = clock
        # Of rows that are about to be retired: what they do not tell themselves.
        self._psids = np.zeros(len(bindings.rows), np.uint16)
        self._sources = np.zeros(len(bindings.rows), np.uint16)
        # Of all rows; pages that were never touched do not exist.
        self._uses = np.zeros(len(bindings.rows), np.uint32)  # accounts that it had before
        self._told = np.zeros(
            len(bindings.rows), np.uint64
        )  # sum of the record when `changed` looked last
        self._names = [""]
        self._numbers: dict[str, int] = {}
        self._list = np.zeros(capacity, ENDED)
        self.since: float | None = None
        """When counting began for the first time, seconds since 1970."""
        self.ended = 0
        """Number of the latest entry of the list; the first one has number 1."""

    @property
    def on(self) -> bool:
        """Whether usage is counted now."""
        return self._usage.on

    def turn(self, *, on: bool) -> None:
        """Count, or not; what has been counted stays."""
        if on and self.since is None:
            self.since = self._clock()
        self._usage.turn(on=on)

    def of(self, rows: npt.NDArray[np.uint32]) -> npt.NDArray[np.uint64]:
        """What has been counted for rows so far, shape (n, 4)."""
        if self.since is None:  # to look would make the pages exist
            return np.zeros((len(rows), 4), np.uint64)
        return self._usage.sums(rows)

    def accounts(self, rows: npt.NDArray[np.uint32]) -> npt.NDArray[np.uint64]:
        """Numbers of the accounts of bindings, by their rows; shape (n,)."""
        accounts: npt.NDArray[np.uint64] = self._uses[rows].astype(np.uint64) << _ROW_BITS
        accounts |= rows
        return accounts

    def changed(self, rows: npt.NDArray[np.uint32]) -> Index:
        """Positions of the rows for which something was counted since they were last asked for."""
        if self.since is None:
            return np.zeros(0, np.intp)
        sums = self._usage.sums(rows)
        # Not packets alone: a worker at work has counted a packet shortly before its octets.
        total = sums[:, 0] + sums[:, 1] + sums[:, 2] + sums[:, 3]
        changed = np.flatnonzero(total != self._told[rows])
        self._told[rows[changed]] = total[changed]
        return changed

    def leaving(self, places: npt.NDArray[np.uint32]) -> None:
        """The bindings in `places` are about to end there; the writer's to say."""
        if self.since is None:
            return
        rows = self._bindings.slots[places]
        bound = rows >= FIXED_ROWS
        rows, places = rows[bound], places[bound]
        self._psids[rows] = self._bindings.psids(places)
        owners, names = self._owners(places)
        number_of = np.zeros(256, np.uint16)
        for owner in np.unique(owners).tolist():
            number_of[owner] = self._number(names.get(owner, ""))
        self._sources[rows] = number_of[owners]

    def freed(self, rows: npt.NDArray[np.uint32]) -> None:
        """No worker sees these rows any more, and they are going to be used again."""
        if self.since is not None and len(rows):
            sums = self._usage.sums(rows)
            used = np.flatnonzero(sums.any(axis=1))
            if len(used):
                self._append(rows[used], sums[used])
                self._usage.clear(rows[used])
                self._told[rows[used]] = 0
        self._uses[rows] += 1

    def list_ended(self, after: int, limit: int) -> tuple[int, Records]:
        """Up to `limit` entries with numbers above `after`: that of the first, and they.

        It is more than `after` + 1 if those in between are lost, and not more than that if there
        is no `after`: that is a number of another run, so whoever has it must begin anew.
        """
        after = 0 if after > self.ended else after  # a number of another run
        first = max(after, self.ended - len(self._list))
        last = min(first + limit, self.ended)
        at = np.arange(first, last) % len(self._list)
        return first + 1, self._list[at]

    def source_name(self, number: int) -> str:
        """The name of a source that is known by `number` in the list; empty if it is not."""
        return self._names[number]

    def _append(self, rows: npt.NDArray[np.uint32], sums: npt.NDArray[np.uint64]) -> None:
        rows, sums = rows[-len(self._list) :], sums[-len(self._list) :]
        found = self._bindings.numbered(rows)
        entries = np.zeros(len(rows), ENDED)
        for name in ("client6", "ipv4", "psid_offset", "psid_len"):
            entries[name] = found[name]
        entries["account"] = self.accounts(rows)
        entries["psid"], entries["source"] = self._psids[rows], self._sources[rows]
        entries["usage"], entries["until"] = sums, self._clock()
        self._list[np.arange(self.ended, self.ended + len(rows)) % len(self._list)] = entries
        self.ended += len(rows)

    def _number(self, name: str) -> int:
        """A number for a source; names are the peers' choice, so there is an end to them."""
        if name and name not in self._numbers and len(self._names) <= _SOURCES_MAX:
            self._numbers[name] = len(self._names)
            self._names.append(name)
        return self._numbers.get(name, _UNKNOWN)
