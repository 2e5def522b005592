"""What a client's tunnel shall be; wrong values do not get past the constructor."""

from __future__ import annotations

import dataclasses
from enum import StrEnum
from typing import TYPE_CHECKING, Final

from dstmrouter.errors import ConfigError

if TYPE_CHECKING:
    from ipaddress import IPv4Address, IPv4Network, IPv6Address

    from dstmrouter.protocols.granted import PortSet

MTU_DEFAULT: Final = 1460  # 1500 less the outer IPv6 header, RFC 2473 section 6.7
MTU_MIN: Final = 576  # every IPv4 host takes as much, RFC 791 section 3.1
MTU_MAX: Final = 65535 - 40
TABLE_MAIN: Final = 254  # linux/rtnetlink.h, RT_TABLE_MAIN
NAME_MAX: Final = 15  # IFNAMSIZ less the closing zero


class Kind(StrEnum):
    """Who carries the packets; the value is the kernel's link kind.

    TUN is our own loop, with all checks of RFC 7596 section 5.2. IP6TNL is the kernel's ip6_tunnel:
    faster; it checks the outer addresses and leaves the inner ones to the host's routing.
    """

    TUN = "tun"
    IP6TNL = "ip6tnl"


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Tunnel:
    """Interface, addresses and routes of one lease; raises ConfigError."""

    client4: IPv4Address
    client6: IPv6Address
    tep6: IPv6Address
    tep4: IPv4Address | None = None
    interface: str | None = None  # that the outer packets must use; None: whatever routes say
    name: str = "dti0"
    mtu: int = MTU_DEFAULT
    encap_limit: bool = False  # ip6tnl only: send the option of RFC 2473 section 4.1.1
    routes: tuple[IPv4Network, ...] = ()
    table: int = TABLE_MAIN  # of the routes
    port_set: PortSet | None = None  # None: all ports of client4 are ours

    def __post_init__(self) -> None:
        _check_tunnel_end("client6", self.client6)
        _check_tunnel_end("tep6", self.tep6)
        if self.client6 == self.tep6:  # RFC 2473 section 4.1.2
            raise ConfigError(f"client6 and tep6 are both {self.tep6}: expected two ends")
        _check_unicast4("client4", self.client4)
        if self.tep4 is not None:
            _check_unicast4("tep4", self.tep4)
        if self.tep4 == self.client4:
            raise ConfigError(f"client4 and tep4 are both {self.tep4}: expected two addresses")
        if not MTU_MIN <= self.mtu <= MTU_MAX:
            raise ConfigError(f"mtu {self.mtu}: expected {MTU_MIN} to {MTU_MAX}")
        check_name(self.name)
        if self.port_set is not None and self.port_set.fault is not None:
            raise ConfigError(f"port set {self.port_set}: {self.port_set.fault}")


def check_name(name: str) -> None:
    """Refuse what the kernel would not take as an interface name (or would expand)."""
    bad = not name.isprintable() or any(c in "/:%" or c.isspace() for c in name)
    if bad or not 1 <= len(name.encode()) <= NAME_MAX or name in {".", ".."}:
        raise ConfigError(
            f"dti-name {name!r}: expected an interface name of 1 to {NAME_MAX} octets"
        )


def _check_tunnel_end(what: str, address: IPv6Address) -> None:
    special = {
        "a link-local": address.is_link_local,
        "a multicast": address.is_multicast,
        "the loopback": address.is_loopback,
        "the unspecified": address.is_unspecified,
        "an IPv4-mapped": address.ipv4_mapped is not None,
    }
    for name, applies in special.items():
        if applies:
            raise ConfigError(f"{what} {address} is {name} address: expected a routable one")


def _check_unicast4(what: str, address: IPv4Address) -> None:
    special = {
        "a link-local": address.is_link_local,
        "a multicast": address.is_multicast,
        "a loopback": address.is_loopback,
        "a reserved": address.packed[0] == 0 or address.is_reserved,
    }
    for name, applies in special.items():
        if applies:
            raise ConfigError(f"{what} {address} is {name} address: expected a unicast one")
