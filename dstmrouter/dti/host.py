"""The effects of a plan, over rtnetlink (pyroute2), and the facts that a plan starts from."""

from __future__ import annotations

import errno
import os
import socket
from contextlib import ExitStack
from ipaddress import IPv4Address, IPv4Network, IPv6Address
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from pyroute2 import IPRoute, NetlinkError

from dstmrouter.dti.plan import (
    MARK,
    Address,
    ChangeAddress,
    ChangeRoute,
    CreateLink,
    DeleteLink,
    Ends,
    Found,
    Link,
    QuietLink,
    SetLink,
    Step,
)
from dstmrouter.dti.tun import open_tun
from dstmrouter.dti.tunnel import TABLE_MAIN, Kind, Tunnel
from dstmrouter.errors import SystemCallError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

RTN_UNICAST: Final = 1  # linux/rtnetlink.h
RTPROT_UNSPEC: Final = 0
RTPROT_KERNEL: Final = 2  # routes that an address brings along
RT_SCOPE_LINK: Final = 253
RT_SCOPE_NOWHERE: Final = 255  # in a deletion: any scope
IFF_UP: Final = 1

# linux/ip6_tunnel.h
IGN_ENCAP_LIMIT: Final = 0x01
USE_ORIG_TCLASS: Final = 0x02  # RFC 6333 section 7.1: the traffic class is carried in ...
RCV_DSCP_COPY: Final = 0x10  # ... and out again
ENCAP_LIMIT_DEFAULT: Final = 4  # RFC 2473 section 6.6
IPPROTO_IPIP: Final = 4
HOP_LIMIT: Final = 64  # RFC 2473 section 6.3


class Host:
    """This network namespace; closing it ends a TUN device that it made."""

    def __init__(self) -> None:
        with ExitStack() as undo:
            self._netlink: Any = undo.enter_context(IPRoute())
            self._undo = undo.pop_all()
        self.tun: int | None = None

    def close(self) -> None:
        """Release everything; harmless when repeated."""
        self._undo.close()
        self.tun = None

    def find_link(self, name: str) -> Link | None:
        """Look at one interface."""
        for message in self._netlink.get_links():
            if message.get("ifname") == name:
                return self._link(message)
        return None

    def look(self, wanted: Tunnel) -> Found:
        """Collect what a plan for `wanted` needs to know."""
        link = self.find_link(wanted.name)
        index = link.index if link is not None else 0
        addresses = list(self._addresses())
        routes = list(self._routes(wanted.table))
        return Found(
            link=link,
            addresses=frozenset(address for at, address in addresses if at == index),
            routes=frozenset(prefix for at, prefix in routes if at == index),
            local6=frozenset(
                IPv6Address(m.get("address"))
                for m in self._netlink.get_addr(family=socket.AF_INET6)
            ),
            client4_on=next(
                (
                    self._name(at)
                    for at, address in addresses
                    if at != index and address.local == wanted.client4
                ),
                None,
            ),
            other_routes={prefix: self._name(at) for at, prefix in routes if at != index},
            tep6_through=self._way_to(wanted.tep6),
            held=self.tun is not None,
        )

    def native_route(self, name: str, wanted: Iterable[IPv4Network]) -> str | None:
        """The first of `wanted` that the main table leads through another interface than `name`."""
        link = self.find_link(name)
        index = link.index if link is not None else 0
        others = {prefix: at for at, prefix in self._routes(TABLE_MAIN) if at != index}
        taken = next((prefix for prefix in wanted if prefix in others), None)
        return None if taken is None else f"{taken} through {self._name(others[taken])}"

    def carry_out(self, step: Step) -> None:
        """Do one step; raises SystemCallError."""
        try:
            self._do(step)
        except NetlinkError as error:
            raise SystemCallError(str(step), error.code, os.strerror(error.code)) from error
        except OSError as error:
            number = error.errno or 0
            raise SystemCallError(str(step), number, os.strerror(number)) from error

    def octets(self, name: str) -> dict[str, dict[str, int]]:
        """Packets and octets that the kernel counted on `name`, in the form of `dti.counters`."""
        for message in self._netlink.get_links():
            if message.get("ifname") == name:
                stats = message.get("stats64")
                return {
                    what: {"packets": stats[f"{side}_packets"], "octets": stats[f"{side}_bytes"]}
                    for what, side in (("out_sent", "tx"), ("in_delivered", "rx"))
                } | {
                    f"{what}_{why}": {"packets": stats[f"{side}_{why}"], "octets": 0}
                    for what, side in (("out", "tx"), ("in", "rx"))
                    for why in ("errors", "dropped")
                }
        return {}

    def _do(self, step: Step) -> None:
        match step:
            case DeleteLink():
                self._netlink.link("del", index=step.index)
            case CreateLink():
                self._create(step)
            case QuietLink():
                _disable_ipv6(step.name)
            case SetLink():
                at = self._index(step.name)
                self._netlink.link("set", index=at, ifalias=MARK, mtu=step.mtu, state="up")
            case ChangeAddress():
                self._change_address(step)
            case ChangeRoute():
                self._change_route(step)

    def _create(self, step: CreateLink) -> None:
        if step.kind is Kind.TUN:
            self.tun = open_tun(step.name)
            self._undo.callback(os.close, self.tun)
            return
        assert step.ends is not None, "the kernel's tunnel has two ends"
        ends = step.ends
        quiet = 0 if ends.encap_limit else IGN_ENCAP_LIMIT
        link = {} if ends.interface is None else {"ip6tnl_link": self._index(ends.interface)}
        self._netlink.link(
            "add",
            ifname=step.name,
            kind="ip6tnl",
            ip6tnl_local=str(ends.client6),
            ip6tnl_remote=str(ends.tep6),
            ip6tnl_proto=IPPROTO_IPIP,
            ip6tnl_ttl=HOP_LIMIT,
            ip6tnl_encap_limit=ENCAP_LIMIT_DEFAULT if ends.encap_limit else 0,
            ip6tnl_flags=USE_ORIG_TCLASS | RCV_DSCP_COPY | quiet,
            **link,
        )

    def _change_address(self, step: ChangeAddress) -> None:
        local, peer = step.address.local, step.address.peer
        self._netlink.addr(
            step.verb,
            index=self._index(step.name),
            local=str(local),
            address=str(peer or local),
            prefixlen=32,
        )

    def _change_route(self, step: ChangeRoute) -> None:
        how: dict[str, int | str] = {"scope": RT_SCOPE_LINK, "prefsrc": str(step.source)}
        if step.verb == "del":  # whoever added it, and with whatever scope
            how = {"scope": RT_SCOPE_NOWHERE, "proto": RTPROT_UNSPEC}
        self._netlink.route(
            step.verb,
            dst=str(step.prefix),
            oif=self._index(step.name),
            table=step.table,
            **how,
        )

    def _link(self, message: Any) -> Link:
        kind = message.get(("linkinfo", "kind")) or ""
        return Link(
            index=message["index"],
            kind=kind,
            alias=message.get("ifalias") or "",
            mtu=message.get("mtu"),
            up=bool(message["flags"] & IFF_UP),
            ends=self._ends(message.get(("linkinfo", "data"))) if kind == Kind.IP6TNL else None,
        )

    def _ends(self, data: Any) -> Ends:
        at = data.get("ip6tnl_link") or 0
        return Ends(
            client6=IPv6Address(data.get("ip6tnl_local")),
            tep6=IPv6Address(data.get("ip6tnl_remote")),
            interface=self._name(at) if at else None,
            encap_limit=not data.get("ip6tnl_flags") & IGN_ENCAP_LIMIT,
        )

    def _addresses(self) -> Iterator[tuple[int, Address]]:
        for message in self._netlink.get_addr(family=socket.AF_INET):
            local = IPv4Address(message.get("local"))
            peer = IPv4Address(message.get("address"))
            yield message["index"], Address(local, peer if peer != local else None)

    def _routes(self, table: int) -> Iterator[tuple[int, IPv4Network]]:
        for message in self._netlink.get_routes(family=socket.AF_INET, table=table):
            # a table of our own has the kill switch in it
            ours = table != TABLE_MAIN and message["type"] != RTN_UNICAST
            if message["proto"] != RTPROT_KERNEL and not ours:
                destination = message.get("dst") or 0  # a default route has none
                yield message.get("oif") or 0, IPv4Network((destination, message["dst_len"]))

    def _way_to(self, address: IPv6Address) -> str | None:
        try:
            routes = list(self._netlink.route("get", dst=str(address)))
        except NetlinkError:  # no route: the network may come up later
            return None
        at = routes[0].get("oif") if routes else None
        return self._name(at) if at else None

    def _index(self, name: str) -> int:
        try:
            return socket.if_nametoindex(name)
        except OSError as error:
            raise SystemCallError(f"look up interface {name}", errno.ENODEV, "none") from error

    def _name(self, index: int) -> str:
        try:
            return socket.if_indextoname(index)
        except OSError:  # a route without an interface, or one that has just gone
            return f"interface {index}"


def _disable_ipv6(name: str) -> None:
    Path(f"/proc/sys/net/ipv6/conf/{name}/disable_ipv6").write_text("1")
