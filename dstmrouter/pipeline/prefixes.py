"""Longest prefix match as a binary search: prefixes compiled to disjoint intervals.

Every interval starts where the one before ends, the first at address 0, and carries a value: the
value of the longest prefix around it. For IPv6 the starts are kept as they stand on the wire, dtype
'S16': numpy compares such strings octet by octet, which is the order of addresses, so a column of
client addresses is looked up without swapping a byte (a million in 0.3 s against 65,536 prefixes).
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Final, Generic, TypeAlias, TypeVar

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from collections.abc import Iterable

    from dstmrouter.binding import Words6

Values: TypeAlias = npt.NDArray[np.uint32]
"""One value for each interval or address, shape (n,)."""

NO_VALUE: Final = 0  # of addresses that no prefix covers
WIRE6: Final = np.dtype("S16")


@dataclasses.dataclass(frozen=True, slots=True)
class Span:
    """All addresses of a prefix, as integers, and the value they have."""

    first: int
    last: int
    value: int


Start = TypeVar("Start", np.uint32, np.bytes_)


@dataclasses.dataclass(frozen=True, slots=True)
class Intervals(Generic[Start]):
    """Ascending starts, the first of them address 0, and the values from there on."""

    starts: npt.NDArray[Start]  # uint32 native, or WIRE6
    values: Values

    def __len__(self) -> int:
        return len(self.starts)


def intervals4(spans: Iterable[Span]) -> Intervals[np.uint32]:
    """Compile IPv4 prefixes, each given once."""
    starts, values = _sweep(spans, bits=32)
    return Intervals(np.array(starts, np.uint32), np.array(values, np.uint32))


def intervals6(spans: Iterable[Span]) -> Intervals[np.bytes_]:
    """Compile IPv6 prefixes, each given once."""
    starts, values = _sweep(spans, bits=128)
    octets = b"".join(start.to_bytes(16, "big") for start in starts)
    return Intervals(np.frombuffer(octets, WIRE6), np.array(values, np.uint32))


def lookup4(table: Intervals[np.uint32], addresses: npt.NDArray[np.uint32]) -> Values:
    """Values of native IPv4 addresses, shape (n,)."""
    return table.values.take(table.starts.searchsorted(addresses, "right") - 1)


def lookup6(table: Intervals[np.bytes_], words: Words6) -> Values:
    """Values of IPv6 addresses given as wire words, shape (n, 2); the result has shape (n,)."""
    addresses = np.ascontiguousarray(words).view(WIRE6).reshape(-1)
    return table.values.take(table.starts.searchsorted(addresses, "right") - 1)


def with_addresses(
    table: Intervals[np.uint32], addresses: npt.NDArray[np.uint32], values: Values
) -> Intervals[np.uint32]:
    """Add single addresses (/32 prefixes) to a compiled table, without compiling it again.

    `addresses` are native and ascending, each once.
    """
    behind = addresses[addresses != np.uint32(0xFFFFFFFF)] + np.uint32(1)
    starts = np.unique(np.concatenate((table.starts, addresses, behind)))
    merged = lookup4(table, starts)
    merged[starts.searchsorted(addresses)] = values
    return Intervals(starts, merged)


def _sweep(spans: Iterable[Span], bits: int) -> tuple[list[int], list[int]]:
    """Walk over the spans by their first address, a span before those inside it.

    `around` holds the spans around the present address, the innermost last: prefixes nest, they
    never overlap in part.
    """
    values = {0: NO_VALUE}  # by start; a later cut at the same address is the one that counts
    around: list[Span] = []
    for span in sorted(spans, key=lambda s: (s.first, -s.last)):
        while around and around[-1].last < span.first:
            _leave(around, values)
        around.append(span)
        values[span.first] = span.value
    while around and around[-1].last + 1 < 1 << bits:
        _leave(around, values)
    return list(values), list(values.values())


def _leave(around: list[Span], values: dict[int, int]) -> None:
    """Behind the innermost span the one around it counts again."""
    behind = around.pop().last + 1
    values[behind] = around[-1].value if around else NO_VALUE
