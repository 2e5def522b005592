"""Types of single configuration values: each says what it expects in one phrase.

The values come from TOML, so a validator gets a str, int, float, bool, list or dict. It returns the
checked value or raises `unlike("an integer between 1 and 64")`; the loader adds file, path and
value. Pydantic's own messages are used for nothing but bool, str, missing and unknown keys.
"""

from __future__ import annotations

import dataclasses
import re
from ipaddress import (
    AddressValueError,
    IPv4Address,
    IPv4Network,
    IPv6Address,
    summarize_address_range,
)
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final, Literal, TypeAlias, TypeVar

from pydantic import BeforeValidator, Field
from pydantic_core import PydanticCustomError

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")
Several: TypeAlias = Annotated[tuple[T, ...], Field(strict=False)]
"""A TOML array; not strict, because strict mode would want a Python tuple."""

Key: TypeAlias = str | int
Misfit: TypeAlias = tuple[tuple[Key, ...], str]
"""Where below the checked value something is wrong, and what was expected there."""

MISFIT: Final = "misfit"  # the error type of everything that the configuration checks itself


def misfit(*found: Misfit) -> PydanticCustomError:
    """One error that reports every one of `found`."""
    return PydanticCustomError(MISFIT, "does not fit", {"misfits": list(found)})


def unlike(expected: str) -> PydanticCustomError:
    """Error for the value at hand; `expected` continues the phrase "expected ..."."""
    return misfit(((), expected))


def whole(low: int, high: int, unit: str = "") -> BeforeValidator:
    """An integer from `low` to `high`, both included."""

    def check(value: object) -> int:
        if type(value) is not int or not low <= value <= high:  # bool is an int to isinstance
            raise unlike(f"an integer between {low} and {high}" + (f" ({unit})" if unit else ""))
        return value

    return BeforeValidator(check)


def power_of_two(low: int, high: int) -> BeforeValidator:
    """A power of two from `low` to `high`, both included: the kernel masks ring positions."""

    def check(value: object) -> int:
        if type(value) is not int or not low <= value <= high or value & (value - 1):
            raise unlike(f"a power of two between {low} and {high}")
        return value

    return BeforeValidator(check)


def seconds(low: float, high: float) -> BeforeValidator:
    """A duration in seconds; fractions are welcome."""

    def check(value: object) -> float:
        if type(value) not in {int, float} or not low <= float(str(value)) <= high:
            raise unlike(f"seconds between {low:g} and {high:g}")
        return float(str(value))

    return BeforeValidator(check)


def counted(low: int, high: int, what: str) -> BeforeValidator:
    """An array of `low` to `high` elements, which are checked one by one afterwards."""

    def check(value: object) -> object:
        if isinstance(value, tuple) or (isinstance(value, list) and low <= len(value) <= high):
            return value
        raise unlike(f"an array of {low} to {high} {what}")

    return BeforeValidator(check)


def text(pattern: str, expected: str) -> BeforeValidator:
    """A string that matches `pattern` as a whole."""
    whole_pattern = re.compile(pattern)

    def check(value: object) -> str:
        if not isinstance(value, str) or not whole_pattern.fullmatch(value):
            raise unlike(expected)
        return value

    return BeforeValidator(check)


def parsed(parse: Callable[[str], T], expected: str) -> BeforeValidator:
    """A string that `parse` turns into the value, or refuses with a ValueError."""

    def check(value: object) -> T:
        if not isinstance(value, str):
            raise unlike(expected)
        try:
            return parse(value)
        except ValueError:
            raise unlike(expected) from None

    return BeforeValidator(check)


@dataclasses.dataclass(frozen=True, slots=True)
class Range4:
    """IPv4 addresses from `first` to `last`, both included."""

    first: IPv4Address
    last: IPv4Address

    def __len__(self) -> int:
        return int(self.last) - int(self.first) + 1

    def __str__(self) -> str:
        if self.first == self.last:
            return str(self.first)
        networks = list(summarize_address_range(self.first, self.last))
        return str(networks[0]) if len(networks) == 1 else f"{self.first}-{self.last}"

    def overlaps(self, other: Range4) -> bool:
        """Whether an address lies in both."""
        return self.first <= other.last and other.first <= self.last

    def contains(self, other: Range4) -> bool:
        """Whether every address of `other` lies in this range."""
        return self.first <= other.first and other.last <= self.last

    @classmethod
    def of_network(cls, network: IPv4Network) -> Range4:
        """All addresses of a prefix, the first and the last one too."""
        return cls(network.network_address, network.broadcast_address)


def _prefix4(value: object) -> IPv4Network:
    expected = "an IPv4 prefix like 192.0.2.0/24"
    if not isinstance(value, str) or "/" not in value:
        raise unlike(expected)
    try:
        network = IPv4Network(value, strict=False)
    except ValueError:
        raise unlike(expected) from None
    if str(network) != value:
        raise unlike(f"a prefix without host bits, {network}")
    if network.prefixlen < 8:
        raise unlike("a prefix of 8 to 32 bits")  # an index of 4 octets per address is kept
    if not all(_is_unicast4(end) for end in (network[0], network[-1])):
        raise unlike("a prefix of unicast addresses")
    return network


def _is_unicast4(address: IPv4Address) -> bool:
    return not (
        address.is_multicast
        or address.is_loopback
        or address.is_link_local
        or address.is_reserved  # 240.0.0.0/4, the limited broadcast too
        or int(address) >> 24 == 0  # "this network", RFC 1122 section 3.2.1.3
    )


def _unicast4(value: str) -> IPv4Address:
    address = IPv4Address(value)
    if not _is_unicast4(address):
        raise AddressValueError
    return address


def _global6(value: str) -> IPv6Address:
    address = IPv6Address(value)
    refused = (
        address.scope_id is not None
        or address.is_link_local
        or address.is_multicast
        or address.is_unspecified
        or address.is_loopback
        or address.ipv4_mapped is not None
    )
    if refused:
        raise AddressValueError
    return address


def _range4(value: str) -> Range4:
    if "/" in value:
        return Range4.of_network(IPv4Network(value))
    first, dash, last = value.partition("-")
    found = Range4(IPv4Address(first.strip()), IPv4Address((last if dash else first).strip()))
    if found.last < found.first:
        raise ValueError
    return found


def _flow_label(value: object) -> Literal["hash"] | int:
    if value == "hash":
        return "hash"
    if type(value) is int and 0 <= value <= 0xFFFFF:
        return value
    raise unlike('"hash" or an integer between 0 and 1048575 (20 bits)')


def _absolute_path(value: str) -> Path:
    path = Path(value)
    if not path.is_absolute():
        raise ValueError
    return path


def _endpoint(value: str) -> str:
    if value.startswith("ipc://"):
        if not 0 < len(value.removeprefix("ipc://")) <= 107:  # sun_path, unix(7)
            raise ValueError
        return value
    host, _, port = value.removeprefix("tcp://").rpartition(":")
    if not value.startswith("tcp://") or not _HOST.fullmatch(host) or not _PORT.fullmatch(port):
        raise ValueError
    if host.startswith("["):
        IPv6Address(host[1:-1])
    if int(port) > 65535:
        raise ValueError
    return value


def is_remote(endpoint: str) -> bool:
    """Whether others than processes of this machine can reach the endpoint."""
    return not endpoint.startswith("ipc://")


_HOST: Final = re.compile(r"\[[0-9A-Fa-f:.]+\]|\*|[A-Za-z0-9._-]+")
_PORT: Final = re.compile(r"[1-9][0-9]{0,4}")


Name: TypeAlias = Annotated[
    str, text(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}", "1 to 63 letters, digits, '.', '_' or '-'")
]
Interface: TypeAlias = Annotated[  # IFNAMSIZ leaves 15 characters, linux/if.h
    str, text(r"(?!\.\.?$)[^\s/:]{1,15}", "the name of a network interface, up to 15 characters")
]
Vlan: TypeAlias = Annotated[int, whole(1, 4094)]
Prefix4: TypeAlias = Annotated[IPv4Network, BeforeValidator(_prefix4)]
Unicast4: TypeAlias = Annotated[IPv4Address, parsed(_unicast4, "a unicast IPv4 address")]
Global6: TypeAlias = Annotated[
    IPv6Address,
    parsed(
        _global6,
        "a global or unique local unicast IPv6 address "
        "(not link-local, multicast, loopback, unspecified or IPv4-mapped)",
    ),
]
SomeRange4: TypeAlias = Annotated[
    Range4,
    parsed(
        _range4, "an IPv4 address, a prefix without host bits, or FIRST-LAST in ascending order"
    ),
]
FlowLabel: TypeAlias = Annotated[Literal["hash"] | int, BeforeValidator(_flow_label)]
Endpoint: TypeAlias = Annotated[
    str, parsed(_endpoint, "tcp://ADDRESS:PORT, tcp://[IPV6]:PORT or ipc:///PATH")
]
CurveKey: TypeAlias = Annotated[  # ZeroMQ RFC 32: 32 octets as 40 characters
    str, text(r"[0-9A-Za-z.\-:+=^!/*?&<>()\[\]{}@%$#]{40}", "a Z85 public key of 40 characters")
]
AbsolutePath: TypeAlias = Annotated[Path, parsed(_absolute_path, "an absolute path")]
