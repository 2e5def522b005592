"""Types of single configuration values: names, addresses, prefixes, ranges, endpoints, keys."""

from __future__ import annotations

import dataclasses
import re
from ipaddress import (
    AddressValueError,
    IPv4Address,
    IPv4Network,
    IPv6Address,
    IPv6Network,
    summarize_address_range,
)
from pathlib import Path
from typing import Annotated, Final, Literal, TypeAlias

from pydantic import BeforeValidator

from dstmrouter.config.checks import parsed, text, unlike, whole

LEAST_MSS: Final = 536  # octets; RFC 9293 section 3.7.1: what every host takes
MOST_MSS: Final = 3782  # of the largest tunnel


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
    if not isinstance(value, str | IPv4Network) or "/" not in str(value):
        raise unlike(expected)
    try:
        network = IPv4Network(value, strict=False)
    except ValueError:
        raise unlike(expected) from None
    if str(network) != str(value):
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


def _mss_clamp(value: object) -> bool | int:
    if isinstance(value, bool):
        return value
    if not isinstance(value, int) or not LEAST_MSS <= value <= MOST_MSS:
        raise unlike(f"true, false or an integer between {LEAST_MSS} and {MOST_MSS} (octets)")
    return value


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
Unicast4: TypeAlias = Annotated[
    IPv4Address, parsed(IPv4Address, _unicast4, "a unicast IPv4 address")
]
Prefix6: TypeAlias = Annotated[
    IPv6Network,
    parsed(IPv6Network, IPv6Network, "an IPv6 prefix without host bits, like 2001:db8::/32"),
]
Identity: TypeAlias = Annotated[str, text(r"[^\x00-\x1f\x7f]{1,255}", "1 to 255 characters")]
Global6: TypeAlias = Annotated[
    IPv6Address,
    parsed(
        IPv6Address,
        _global6,
        "a global or unique local unicast IPv6 address "
        "(not link-local, multicast, loopback, unspecified or IPv4-mapped)",
    ),
]
SomeRange4: TypeAlias = Annotated[
    Range4,
    parsed(
        Range4,
        _range4,
        "an IPv4 address, a prefix without host bits, or FIRST-LAST in ascending order",
    ),
]
MssClamp: TypeAlias = Annotated[bool | int, BeforeValidator(_mss_clamp)]
FlowLabel: TypeAlias = Annotated[Literal["hash"] | int, BeforeValidator(_flow_label)]
Endpoint: TypeAlias = Annotated[
    str, parsed(str, _endpoint, "tcp://ADDRESS:PORT, tcp://[IPV6]:PORT or ipc:///PATH")
]
CurveKey: TypeAlias = Annotated[  # ZeroMQ RFC 32: 32 octets as 40 characters
    str, text(r"[0-9A-Za-z.\-:+=^!/*?&<>()\[\]{}@%$#]{40}", "a Z85 public key of 40 characters")
]
AbsolutePath: TypeAlias = Annotated[Path, parsed(Path, _absolute_path, "an absolute path")]
