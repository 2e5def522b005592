"""rpcbind version 4, RFC 1833 section 2.2.1, as far as a server registers and a client looks up.

An address is "universal" there: text that ends in two decimal octets for the port, RFC 5665
section 5.2.3.4, after an IPv6 address that may hold dots itself.
"""

from __future__ import annotations

import dataclasses
import re
from enum import IntEnum
from ipaddress import AddressValueError, IPv6Address
from typing import Final

from dstmrouter.errors import DecodeError
from dstmrouter.protocols.xdr import Reader, Writer

PROGRAM: Final = 100_000
VERSION: Final = 4
PORT: Final = 111

TCP6: Final = "tcp6"  # netids, RFC 5665 section 5.1.1
UDP6: Final = "udp6"
STRING_MAX: Final = 256  # octets; the RFC has no limit, rpcbind takes as many


class Procedure(IntEnum):
    """Those that we call."""

    SET = 1
    UNSET = 2
    GETADDR = 3


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Binding:
    """`struct rpcb`: where a version of a program listens; empty text means any."""

    program: int
    version: int
    netid: str
    address: str = ""  # universal
    owner: str = ""  # rpcbind writes what it knows itself

    def encode(self) -> bytes:
        """As arguments of all three procedures."""
        writer = Writer()
        writer.uint32(self.program)
        writer.uint32(self.version)
        for text in (self.netid, self.address, self.owner):
            writer.text(text, STRING_MAX)
        return writer.octets

    @classmethod
    def decode(cls, octets: bytes) -> Binding:
        """From arguments; DecodeError if they are others."""
        reader = Reader(octets)
        found = cls(
            program=reader.uint32(),
            version=reader.uint32(),
            netid=reader.text(STRING_MAX),
            address=reader.text(STRING_MAX),
            owner=reader.text(STRING_MAX),
        )
        reader.end()
        return found


def decode_done(octets: bytes) -> bool:
    """From the result of SET and UNSET: whether it was done."""
    reader = Reader(octets)
    done = reader.boolean()
    reader.end()
    return done


def decode_address(octets: bytes) -> tuple[IPv6Address, int] | None:
    """From the result of GETADDR: address and port; None: not registered."""
    reader = Reader(octets)
    text = reader.text(STRING_MAX)
    reader.end()
    return parse_universal(text) if text else None


def universal(address: IPv6Address, port: int) -> str:
    """`2001:db8::1`, 3654 -> `2001:db8::1.14.70`."""
    return f"{address}.{port >> 8}.{port & 0xFF}"


def parse_universal(text: str) -> tuple[IPv6Address, int]:
    """`2001:db8::1.14.70` -> `2001:db8::1`, 3654; DecodeError if it is none."""
    found = _UNIVERSAL.fullmatch(text)
    try:
        if found is None:
            raise AddressValueError  # noqa: TRY301 - one error for every way to be wrong
        address, high, low = IPv6Address(found[1]), int(found[2]), int(found[3])
    except AddressValueError:
        raise DecodeError(f"{text[:60]!r} is no universal address of IPv6") from None
    if high > 255 or low > 255:
        raise DecodeError(f"{text[:60]!r}: a port has two octets")
    return address, high << 8 | low


_UNIVERSAL: Final = re.compile(r"([0-9A-Fa-f:.]+)\.([0-9]{1,3})\.([0-9]{1,3})", re.ASCII)
