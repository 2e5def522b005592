"""rtnetlink messages to kernel objects.

What says nothing about forwarding here (bridge entries, routes of other tables, of one type of
service or one source) gives None. A route with a lightweight tunnel keeps its place, but none of
its ways: we cannot send what the kernel would.
"""

from __future__ import annotations

import socket
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from typing import TYPE_CHECKING, Final

from dstmrouter.io import rtnetlink
from dstmrouter.io.kernelobjects import (
    Address,
    Link,
    Neighbour,
    NextHop,
    Notice,
    Route,
    RouteKind,
    Table,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from dstmrouter.io.kernelobjects import IpAddress, IpNetwork, KernelObject
    from dstmrouter.io.rtnetlink import Message

IFF_UP: Final = 0x1  # include/uapi/linux/if.h
IFF_RUNNING: Final = 0x40  # the operational state of RFC 2863, not only the carrier
RTM_F_CLONED: Final = 0x200  # include/uapi/linux/rtnetlink.h: a cached copy, not a route
FAMILIES: Final = (socket.AF_INET, socket.AF_INET6)


def decode(message: Message) -> Notice | None:
    """What a message says; raises ValueError if it cannot be understood."""
    header = message["header"]
    if header.get("error") is not None:
        raise ValueError(f"message type {header['type']}: {header['error']}")
    known = _DECODERS.get(header["type"])
    if known is None:
        return None
    read, gone = known
    about = read(message)
    if about is None:
        return None
    return Notice(about, gone, replaces=bool(header["flags"] & rtnetlink.NLM_F_REPLACE))


def _link(message: Message) -> Link | None:
    if message["family"] != socket.AF_UNSPEC:  # a bridge tells of its ports by links, too
        return None
    return Link(
        ifindex=message["index"],
        name=message.get_attr("IFLA_IFNAME") or "",
        mac=_mac(message.get_attr("IFLA_ADDRESS")),
        mtu=message.get_attr("IFLA_MTU") or 0,
        up=message["flags"] & (IFF_UP | IFF_RUNNING) == IFF_UP | IFF_RUNNING,
    )


def _address(message: Message) -> Address | None:
    if message["family"] not in FAMILIES:
        return None
    # With a peer, IFA_ADDRESS is the peer's and IFA_LOCAL ours; IPv6 may have IFA_ADDRESS alone.
    text = message.get_attr("IFA_LOCAL") or message.get_attr("IFA_ADDRESS")
    return Address(message["index"], _ip(message["family"], text), message["prefixlen"])


def _neighbour(message: Message) -> Neighbour | None:
    text = message.get_attr("NDA_DST")
    if message["family"] not in FAMILIES or text is None:
        return None
    return Neighbour(
        ifindex=message["ifindex"],
        ip=_ip(message["family"], text),
        mac=_mac(message.get_attr("NDA_LLADDR")),
        state=message["state"],
    )


def _route(message: Message) -> Route | None:
    table = message.get_attr("RTA_TABLE") or message["table"]
    special = message["tos"] or message["src_len"] or message["flags"] & RTM_F_CLONED
    if message["family"] not in FAMILIES or special or table not in list(Table):
        return None
    if message["type"] not in list(RouteKind):
        return None
    ways = message.get_attr("RTA_MULTIPATH")
    nexthops = _ways(message["family"], message) if ways is None else ()
    for way in ways or ():
        nexthops += _ways(message["family"], way)
    return Route(
        dst=_network(message["family"], message.get_attr("RTA_DST"), message["dst_len"]),
        kind=RouteKind(message["type"]),
        nexthops=nexthops,
        table=Table(table),
        metric=message.get_attr("RTA_PRIORITY") or 0,
    )


def _ways(family: int, way: Message) -> tuple[NextHop, ...]:
    """The next hop of a route or of one path of it; none if it cannot be used."""
    attribute = way.get_attr
    ifindex = attribute("RTA_OIF") or way.get("oif")
    if ifindex is None or attribute("RTA_ENCAP_TYPE") is not None:
        return ()
    text = attribute("RTA_GATEWAY")
    via = attribute("RTA_VIA")  # a gateway of the other IP version (RFC 8950)
    if text is not None:
        return (NextHop(ifindex, _ip(family, text)),)
    if via is not None:
        return (NextHop(ifindex, _ip(via["family"], via["addr"])),)
    return (NextHop(ifindex, None),)


def _ip(family: int, text: str) -> IpAddress:
    return IPv4Address(text) if family == socket.AF_INET else IPv6Address(text)


def _network(family: int, text: str | None, prefix_len: int) -> IpNetwork:
    if family == socket.AF_INET:
        return IPv4Network((text or 0, prefix_len))
    return IPv6Network((text or 0, prefix_len))


def _mac(text: str | None) -> bytes:
    return bytes.fromhex(text.replace(":", "")) if text else b""


_DECODERS: Final[dict[int, tuple[Callable[[Message], KernelObject | None], bool]]] = {
    rtnetlink.RTM_NEWLINK: (_link, False),
    rtnetlink.RTM_DELLINK: (_link, True),
    rtnetlink.RTM_NEWADDR: (_address, False),
    rtnetlink.RTM_DELADDR: (_address, True),
    rtnetlink.RTM_NEWROUTE: (_route, False),
    rtnetlink.RTM_DELROUTE: (_route, True),
    rtnetlink.RTM_NEWNEIGH: (_neighbour, False),
    rtnetlink.RTM_DELNEIGH: (_neighbour, True),
}
