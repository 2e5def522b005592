"""What the kernel's routing tables consist of, as values: links, addresses, routes, neighbours."""

from __future__ import annotations

import dataclasses
from enum import Enum, IntEnum
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from typing import Final, TypeAlias

IpAddress: TypeAlias = IPv4Address | IPv6Address
IpNetwork: TypeAlias = IPv4Network | IPv6Network
NeighbourKey: TypeAlias = tuple[int, IpAddress]
"""Interface index and address."""

# include/uapi/linux/neighbour.h
NUD_REACHABLE: Final = 0x02
NUD_STALE: Final = 0x04
NUD_DELAY: Final = 0x08
NUD_PROBE: Final = 0x10
NUD_PERMANENT: Final = 0x80
NUD_USABLE: Final = NUD_REACHABLE | NUD_STALE | NUD_DELAY | NUD_PROBE | NUD_PERMANENT


class Part(Enum):
    """What can be asked of the kernel at once."""

    LINKS = "links"
    ADDRESSES = "addresses"
    ROUTES4 = "IPv4 routes"
    ROUTES6 = "IPv6 routes"
    NEIGHBOURS = "neighbours"


class Table(IntEnum):
    """Routing tables that count, include/uapi/linux/rtnetlink.h."""

    DEFAULT = 253
    MAIN = 254
    LOCAL = 255


class RouteKind(IntEnum):
    """Route types (RTN_*), include/uapi/linux/rtnetlink.h."""

    UNICAST = 1
    LOCAL = 2
    BROADCAST = 3
    ANYCAST = 4
    MULTICAST = 5
    BLACKHOLE = 6
    UNREACHABLE = 7
    PROHIBIT = 8
    THROW = 9


@dataclasses.dataclass(frozen=True, slots=True)
class Link:
    """A network interface."""

    ifindex: int
    name: str
    mac: bytes  # empty where the link has no address
    mtu: int  # octets
    up: bool  # switched on, and with a carrier


@dataclasses.dataclass(frozen=True, slots=True)
class Address:
    """One of our own addresses."""

    ifindex: int
    ip: IpAddress
    prefix_len: int


@dataclasses.dataclass(frozen=True, slots=True)
class NextHop:
    """One way of a route; without a gateway the destination itself is on the link."""

    ifindex: int
    gateway: IpAddress | None


@dataclasses.dataclass(frozen=True, slots=True)
class Route:
    """A route; `nexthops` is empty for kinds that lead nowhere."""

    dst: IpNetwork
    kind: RouteKind
    nexthops: tuple[NextHop, ...]
    table: Table = Table.MAIN
    metric: int = 0

    @property
    def part(self) -> Part:
        """The routing table of its IP version."""
        return Part.ROUTES4 if self.dst.version == 4 else Part.ROUTES6


@dataclasses.dataclass(frozen=True, slots=True)
class Neighbour:
    """A neighbour table entry, with its NUD state."""

    ifindex: int
    ip: IpAddress
    mac: bytes  # empty when not known
    state: int

    @property
    def key(self) -> NeighbourKey:
        """What no other entry has."""
        return self.ifindex, self.ip

    @property
    def usable(self) -> bool:
        """Whether a frame can be addressed to it."""
        return bool(self.state & NUD_USABLE) and len(self.mac) == 6

    @property
    def permanent(self) -> bool:
        """Whether an administrator has set it."""
        return bool(self.state & NUD_PERMANENT)


KernelObject: TypeAlias = Link | Address | Route | Neighbour


@dataclasses.dataclass(frozen=True, slots=True)
class Notice:
    """What the kernel says about one object."""

    about: KernelObject
    gone: bool = False
    replaces: bool = False  # NLM_F_REPLACE: instead of the first route with the same key

    @property
    def part(self) -> Part:
        """The part that the object belongs to."""
        match self.about:
            case Link():
                return Part.LINKS
            case Address():
                return Part.ADDRESSES
            case Neighbour():
                return Part.NEIGHBOURS
            case Route():
                return self.about.part
