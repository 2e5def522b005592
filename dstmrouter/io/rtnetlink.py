"""rtnetlink(7): requests, dumps and notices; the only module here that imports pyroute2.

pyroute2 encodes and decodes the messages. The sockets are our own: a notice socket that ran over
(ENOBUFS) must go on after a new dump, and an interrupted dump (NLM_F_DUMP_INTR) must be noticed;
pyroute2's sockets know neither.
"""

from __future__ import annotations

import os
import socket
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from pyroute2.netlink.rtnl.ifaddrmsg import ifaddrmsg
from pyroute2.netlink.rtnl.ifinfmsg import ifinfmsg
from pyroute2.netlink.rtnl.marshal import MarshalRtnl
from pyroute2.netlink.rtnl.ndmsg import ndmsg
from pyroute2.netlink.rtnl.rtmsg import rtmsg

from dstmrouter.errors import SystemCallError
from dstmrouter.io.kernelobjects import Part, RouteKind, Table

if TYPE_CHECKING:
    from collections.abc import Iterator
    from ipaddress import IPv4Network

    from dstmrouter.io.kernelobjects import IpAddress

Message: TypeAlias = Any
"""A message of pyroute2 (untyped): fields by [], attributes by get_attr()."""

# include/uapi/linux/netlink.h
NLMSG_ERROR: Final = 2
NLMSG_DONE: Final = 3
NLM_F_REQUEST: Final = 0x001
NLM_F_ACK: Final = 0x004
NLM_F_DUMP_INTR: Final = 0x010
NLM_F_REPLACE: Final = 0x100
NLM_F_DUMP: Final = 0x300
NLM_F_EXCL: Final = 0x200
NLM_F_CREATE: Final = 0x400
SOL_NETLINK: Final = 270
NETLINK_ADD_MEMBERSHIP: Final = 1
NETLINK_GET_STRICT_CHK: Final = 12

# include/uapi/linux/rtnetlink.h
RTM_NEWLINK, RTM_DELLINK, RTM_GETLINK = 16, 17, 18
RTM_NEWADDR, RTM_DELADDR, RTM_GETADDR = 20, 21, 22
RTM_NEWROUTE, RTM_DELROUTE, RTM_GETROUTE = 24, 25, 26
RTM_NEWNEIGH, RTM_DELNEIGH, RTM_GETNEIGH = 28, 29, 30
RTM_NEWNEXTHOP, RTM_DELNEXTHOP = 104, 105
RTNLGRP_LINK, RTNLGRP_NEIGH, RTNLGRP_IPV4_IFADDR, RTNLGRP_IPV4_ROUTE = 1, 3, 5, 7
RTNLGRP_IPV6_IFADDR, RTNLGRP_IPV6_ROUTE, RTNLGRP_NEXTHOP = 9, 11, 32
GROUPS: Final = (
    RTNLGRP_LINK,
    RTNLGRP_NEIGH,
    RTNLGRP_IPV4_IFADDR,
    RTNLGRP_IPV4_ROUTE,
    RTNLGRP_IPV6_IFADDR,
    RTNLGRP_IPV6_ROUTE,
    RTNLGRP_NEXTHOP,
)
NTF_USE: Final = 0x01  # include/uapi/linux/neighbour.h
SO_RCVBUFFORCE: Final = 33  # include/uapi/asm-generic/socket.h; not in Python's socket

REPLY_TIMEOUT_S: Final = 10.0  # the kernel answers at once, unless somebody holds its RTNL lock
RECEIVE_LEN: Final = 1 << 17  # octets; a dump comes in datagrams of at most 32 KiB
NOTICE_BUFFER_LEN: Final = 4 << 20  # octets: notices of some 10,000 routes

_DUMPS: Final = {
    Part.LINKS: (ifinfmsg, RTM_GETLINK, socket.AF_UNSPEC),
    Part.ADDRESSES: (ifaddrmsg, RTM_GETADDR, socket.AF_UNSPEC),
    Part.ROUTES4: (rtmsg, RTM_GETROUTE, socket.AF_INET),
    Part.ROUTES6: (rtmsg, RTM_GETROUTE, socket.AF_INET6),
    Part.NEIGHBOURS: (ndmsg, RTM_GETNEIGH, socket.AF_UNSPEC),
}


def notice_socket() -> socket.socket:
    """A non-blocking socket that gets the kernel's notices of every `Part`."""
    sock = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_NONBLOCK)
    try:
        sock.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, NOTICE_BUFFER_LEN)
    except PermissionError:  # without CAP_NET_ADMIN: as much as net.core.rmem_max allows
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, NOTICE_BUFFER_LEN)
    sock.bind((0, 0))
    for group in GROUPS:
        sock.setsockopt(SOL_NETLINK, NETLINK_ADD_MEMBERSHIP, group)
    return sock


class Decoder:
    """Datagrams of the kernel to messages."""

    def __init__(self) -> None:
        self._marshal = MarshalRtnl()

    def messages(self, datagram: bytes) -> Iterator[Message]:
        """The messages of one datagram; those that pyroute2 cannot decode have an error inside."""
        yield from self._marshal.parse(datagram)


def dump(part: Part) -> Iterator[Message]:
    """Ask for all objects of `part`; the last message is NLMSG_DONE.

    If one of the messages has NLM_F_DUMP_INTR, they are not one consistent picture. Blocks; some 70
    us a message. Raises SystemCallError.
    """
    kind, number, family = _DUMPS[part]
    request = kind()
    request["family"] = family
    yield from _dump(f"dump of {part.value}", request, number)


def solicitation(ifindex: int, ip: IpAddress) -> bytes:
    """The request that makes the kernel resolve or confirm a neighbour, as if it had a packet."""
    request = ndmsg()
    request["family"] = socket.AF_INET if ip.version == 4 else socket.AF_INET6
    request["ifindex"] = ifindex
    request["flags"] = NTF_USE
    request["attrs"] = [("NDA_DST", str(ip))]
    return _encode(request, RTM_NEWNEIGH, NLM_F_REQUEST | NLM_F_CREATE)


def add_discard_route(prefix: IPv4Network, protocol: int) -> None:
    """Add a blackhole route to the main table; raises SystemCallError, also if there is one."""
    request = _discard_route(prefix, protocol)
    _change(f"add blackhole {prefix}", request, RTM_NEWROUTE, NLM_F_CREATE | NLM_F_EXCL)


def remove_discard_route(prefix: IPv4Network, protocol: int) -> None:
    """Remove the blackhole route that `protocol` added; raises SystemCallError."""
    _change(f"remove blackhole {prefix}", _discard_route(prefix, protocol), RTM_DELROUTE, 0)


def dump_routes_of_kind(kind: RouteKind) -> Iterator[Message]:
    """Like `dump`, the IPv4 routes of one kind in the main table (the kernel chooses)."""
    request = rtmsg()
    request["family"] = socket.AF_INET
    request["table"] = Table.MAIN
    request["type"] = kind
    yield from _dump(f"dump of {kind.name.lower()} routes", request, RTM_GETROUTE, strict=True)


def _discard_route(prefix: IPv4Network, protocol: int) -> Message:
    request = rtmsg()
    request["family"] = socket.AF_INET
    request["dst_len"] = prefix.prefixlen
    request["table"] = Table.MAIN
    request["proto"] = protocol
    request["type"] = RouteKind.BLACKHOLE
    request["attrs"] = [("RTA_DST", str(prefix.network_address))]
    return request


def _encode(request: Message, number: int, flags: int) -> bytes:
    request["header"]["type"] = number
    request["header"]["flags"] = flags
    request.encode()
    return bytes(request.data)


def _request_socket() -> socket.socket:
    sock = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW)
    sock.settimeout(REPLY_TIMEOUT_S)
    sock.bind((0, 0))
    return sock


def _dump(tried: str, request: Message, number: int, *, strict: bool = False) -> Iterator[Message]:
    decoder = Decoder()
    try:
        with _request_socket() as sock:
            if strict:
                sock.setsockopt(SOL_NETLINK, NETLINK_GET_STRICT_CHK, 1)
            sock.send(_encode(request, number, NLM_F_REQUEST | NLM_F_DUMP))
            while True:
                for message in decoder.messages(sock.recv(RECEIVE_LEN)):
                    _check(tried, message)
                    yield message
                    if message["header"]["type"] == NLMSG_DONE:
                        return
    except OSError as error:
        raise SystemCallError(tried, error.errno or 0, str(error)) from error


def _change(tried: str, request: Message, number: int, flags: int) -> None:
    try:
        with _request_socket() as sock:
            sock.send(_encode(request, number, NLM_F_REQUEST | NLM_F_ACK | flags))
            for message in Decoder().messages(sock.recv(RECEIVE_LEN)):
                _check(tried, message)
    except OSError as error:
        raise SystemCallError(tried, error.errno or 0, str(error)) from error


def _check(tried: str, message: Message) -> None:
    """Raise if the message is the kernel's refusal."""
    if message["header"]["type"] == NLMSG_ERROR and message["error"] != 0:
        code = abs(message["error"])
        raise SystemCallError(tried, code, os.strerror(code))
