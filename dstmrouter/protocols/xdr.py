"""External Data Representation, RFC 4506: `Reader` and `Writer`, method for method.

A Reader takes any octets and either gives values or raises DecodeError: every variable length has
a limit, padding must be zero (section 3), and `end` refuses octets that nobody asked for. A Writer
checks the same limits, as mistakes of our own.
"""

from __future__ import annotations

from enum import IntEnum
from typing import TYPE_CHECKING, Final, TypeVar

from dstmrouter.errors import DecodeError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

T = TypeVar("T")
E = TypeVar("E", bound=IntEnum)

UNIT: Final = 4  # octets; everything is padded to it


class Reader:
    """Takes values from the front of `octets`."""

    def __init__(self, octets: bytes) -> None:
        self._octets = octets
        self._at = 0

    def uint32(self) -> int:
        """Unsigned integer of 32 bits, section 4.2."""
        return int.from_bytes(self._take(4), "big")

    def uint64(self) -> int:
        """Unsigned hyper integer of 64 bits, section 4.5."""
        return int.from_bytes(self._take(8), "big")

    def boolean(self) -> bool:
        """0 or 1, section 4.4."""
        value = self.uint32()
        if value > 1:
            raise DecodeError(f"boolean of value {value}")
        return bool(value)

    def enum(self, kind: type[E]) -> E:
        """A member of `kind`, section 4.3."""
        value = self.uint32()
        try:
            return kind(value)
        except ValueError:
            raise DecodeError(f"{value} is no {kind.__name__}") from None

    def fixed(self, size: int) -> bytes:
        """`size` octets of opaque data, section 4.9."""
        value = self._take(size)
        if any(self._take(-size % UNIT)):
            raise DecodeError("nonzero padding")
        return value

    def opaque(self, limit: int) -> bytes:
        """At most `limit` octets of opaque data, section 4.10."""
        return self.fixed(self._count(limit, "octets"))

    def text(self, limit: int) -> str:
        """A string of at most `limit` octets, section 4.11; UTF-8, which includes ASCII."""
        try:
            return self.opaque(limit).decode()
        except UnicodeDecodeError:
            raise DecodeError("string is not UTF-8") from None

    def array(self, limit: int, item: Callable[[], T]) -> tuple[T, ...]:
        """At most `limit` elements, each taken by `item`, section 4.13."""
        return tuple(item() for _ in range(self._count(limit, "elements")))

    def rest(self) -> bytes:
        """Everything that is left: the arguments or results of a procedure."""
        value = self._octets[self._at :]
        self._at = len(self._octets)
        return value

    def end(self) -> None:
        """Raise DecodeError unless everything was taken."""
        left = len(self._octets) - self._at
        if left:
            raise DecodeError(f"{left} octets too many")

    def _count(self, limit: int, what: str) -> int:
        count = self.uint32()
        if count > limit:
            raise DecodeError(f"{count} {what}, limit {limit}")
        return count

    def _take(self, size: int) -> bytes:
        value = self._octets[self._at : self._at + size]
        if len(value) < size:
            raise DecodeError(f"ends {size - len(value)} octets early")
        self._at += size
        return value


class Writer:
    """Puts values one after the other; `octets` is what they became."""

    def __init__(self) -> None:
        self._octets = bytearray()

    @property
    def octets(self) -> bytes:
        """Everything written so far."""
        return bytes(self._octets)

    def uint32(self, value: int) -> None:
        """Unsigned integer of 32 bits, section 4.2."""
        self._octets += value.to_bytes(4, "big")

    def uint64(self, value: int) -> None:
        """Unsigned hyper integer of 64 bits, section 4.5."""
        self._octets += value.to_bytes(8, "big")

    def boolean(self, value: bool) -> None:
        """0 or 1, section 4.4."""
        self.uint32(int(value))

    def enum(self, value: IntEnum) -> None:
        """The number of a member, section 4.3."""
        self.uint32(value)

    def fixed(self, value: bytes, size: int) -> None:
        """`size` octets of opaque data, section 4.9."""
        assert len(value) == size, f"{len(value)} octets, not {size}"
        self._octets += value + bytes(-size % UNIT)

    def opaque(self, value: bytes, limit: int) -> None:
        """At most `limit` octets of opaque data, section 4.10."""
        assert len(value) <= limit, f"{len(value)} octets, limit {limit}"
        self.uint32(len(value))
        self.fixed(value, len(value))

    def text(self, value: str, limit: int) -> None:
        """A string of at most `limit` octets, section 4.11; UTF-8, which includes ASCII."""
        self.opaque(value.encode(), limit)

    def array(self, values: Sequence[T], limit: int, item: Callable[[T], None]) -> None:
        """At most `limit` elements, each put by `item`, section 4.13."""
        assert len(values) <= limit, f"{len(values)} elements, limit {limit}"
        self.uint32(len(values))
        for value in values:
            item(value)

    def rest(self, value: bytes) -> None:
        """What is in XDR already: the arguments or results of a procedure."""
        self._octets += value
