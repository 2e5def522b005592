"""The XML bodies of the Tunnel Setup Protocol for `v4v6` tunnels, RFC 5572 section 4.7 and its DTD.

Decoding is tolerant where deployed programs differ (unknown attributes and elements, a prefix as
text or as an address element) and strict where it protects us: UTF-8 only, no DTD, no entities,
few elements. Encoding writes one line.

Lifetimes on the wire are whole minutes (section 4.7.1). A lease need not be: `lease_s` is carried
in an attribute of our own, `ds-lease-seconds`, which others ignore and which a server only sends
to a client that has used it.
"""

from __future__ import annotations

import dataclasses
from ipaddress import IPv4Address, IPv6Address
from typing import TYPE_CHECKING, Final
from xml.sax.saxutils import escape, quoteattr

from dstmrouter.binding import text6, told6
from dstmrouter.errors import DecodeError
from dstmrouter.protocols import xmltree
from dstmrouter.protocols.tsp_status import Status, TspError
from dstmrouter.transitions import Word

if TYPE_CHECKING:
    from collections.abc import Iterator

    from dstmrouter.protocols.xmltree import Element

TUNNEL_TYPE: Final = "v4v6"
SECONDS_LIMIT: Final = 0xFFFFFFFE  # what a binding can carry
BROKER_LIMIT: Final = 50
NAME_LIMIT: Final = 255  # characters of a broker's address, RFC 1035 section 2.3.4

SECONDS: Final = "ds-lease-seconds"


class Action(Word):
    """What a body asks for or tells."""

    CREATE = "create"
    INFO = "info"
    ACCEPT = "accept"
    REJECT = "reject"
    DELETE = "delete"
    LIST = "list"


_ACTIONS: Final = {action.value: action for action in Action}
CLOSING: Final = frozenset({Action.ACCEPT, Action.REJECT})
"""What a client says to an offer."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Keepalive:
    """How often, in seconds, and where to the client sends its echo requests."""

    interval_s: int
    address: IPv4Address | None = None


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Prefix:
    """Addresses for a router's own network: how many bits, and which once they are given."""

    length: int
    address: IPv4Address | None = None


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class End:
    """One end of the tunnel: element `server` or `client`."""

    ipv4: IPv4Address | None = None
    ipv6: IPv6Address | None = None
    keepalive: Keepalive | None = None
    prefix: Prefix | None = None


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Tunnel:
    """One body; `brokers` are those of a list, in the order in which to try them."""

    action: Action
    type: str | None = TUNNEL_TYPE
    lifetime_min: int | None = None
    lease_s: int | None = None
    server: End | None = None
    client: End | None = None
    brokers: tuple[str, ...] = ()


def decode(body: bytes) -> Tunnel:
    """Read a body; `TspError` says what the peer is to be told."""
    root = _tree(body)
    if root.tag != "tunnel":
        raise _malformed("expected element tunnel")
    action = _ACTIONS.get(root.attributes.get("action", ""))
    if action is None:
        raise _malformed("expected action create, info, accept, reject or delete")
    return Tunnel(
        action=action,
        type=root.attributes.get("type", TUNNEL_TYPE).strip().lower(),
        lifetime_min=_number(root, "lifetime", SECONDS_LIMIT // 60),
        lease_s=_number(root, SECONDS, SECONDS_LIMIT),
        server=_end(root.first("server")),
        client=_end(root.first("client")),
        brokers=tuple(_brokers(root)),
    )


def encode(tunnel: Tunnel) -> bytes:
    """Write a body: one line, with its end."""
    attributes = _attribute("action", tunnel.action.value) + _attribute("type", tunnel.type)
    attributes += _attribute("lifetime", tunnel.lifetime_min) + _attribute(SECONDS, tunnel.lease_s)
    inside = "".join(_broker_element(name) for name in tunnel.brokers)
    inside += _end_element("server", tunnel.server) + _end_element("client", tunnel.client)
    return f"<tunnel{attributes}>{inside}</tunnel>\r\n".encode()


def _tree(body: bytes) -> Element:
    try:
        return xmltree.parse(body.strip(b"\0 \t\r\n").decode("utf-8"))
    except ValueError:  # no UTF-8
        raise _malformed("expected a body in UTF-8") from None
    except DecodeError as error:
        raise _malformed(f"expected a well-formed body: {error}") from None


def _malformed(text: str) -> TspError:
    return TspError(Status.BAD_REQUEST, text)


def _number(element: Element, name: str, limit: int) -> int | None:
    text = element.attributes.get(name)
    if text is None:
        return None
    text = text.strip()
    if not (text.isascii() and text.isdecimal() and len(text) <= 10 and int(text) <= limit):
        raise _malformed(f"attribute {name}: expected a number up to {limit}")
    return int(text)


def _end(element: Element | None) -> End | None:
    if element is None:
        return None
    ipv4, ipv6 = None, None
    for address in element.all("address"):
        kind = address.attributes.get("type", "").strip().lower()
        if kind == "ipv4":
            ipv4 = _ipv4(address.text)
        elif kind == "ipv6":
            ipv6 = _ipv6(address.text)
    keepalive, router = element.first("keepalive"), element.first("router")
    prefix = router.first("prefix") if router is not None else None
    return End(
        ipv4=ipv4,
        ipv6=ipv6,
        keepalive=_keepalive(keepalive) if keepalive is not None else None,
        prefix=_prefix(prefix) if prefix is not None else None,
    )


def _keepalive(element: Element) -> Keepalive:
    interval_s = _number(element, "interval", 86400)
    if interval_s is None:
        raise _malformed("element keepalive: expected attribute interval")
    addresses = (one for one in element.all("address") if one.attributes.get("type") == "ipv4")
    address = next(addresses, None)
    return Keepalive(
        interval_s=interval_s, address=_ipv4(address.text) if address is not None else None
    )


def _prefix(element: Element) -> Prefix:
    length = _number(element, "length", 32)
    if length is None:
        raise _malformed("element prefix: expected attribute length")
    inner = element.first("address")
    text = (element if inner is None else inner).text
    return Prefix(length=length, address=_ipv4(text) if text.strip() else None)


def _ipv4(text: str) -> IPv4Address:
    try:
        return IPv4Address(text.strip())
    except ValueError:
        raise TspError(Status.BAD_IPV4, "expected an IPv4 address") from None


def _ipv6(text: str) -> IPv6Address:
    try:
        return told6(text.strip())
    except ValueError:
        raise TspError(Status.BAD_IPV6, "expected an IPv6 address") from None


def _brokers(root: Element) -> Iterator[str]:
    """Where to go instead, at most `BROKER_LIMIT` addresses and names."""
    found = [address for broker in root.all("broker") for address in broker.within("address")]
    for address in found[:BROKER_LIMIT]:
        name = address.text.strip()
        if 0 < len(name) <= NAME_LIMIT and name.isascii() and name.isprintable():
            yield name


def address_kind(name: str) -> str:
    """How the type of a broker's address is called: `ipv6`, `ipv4` or `dn`."""
    for kind, parse in (("ipv6", IPv6Address), ("ipv4", IPv4Address)):
        try:
            parse(name)
        except ValueError:
            continue
        return kind
    return "dn"


def _attribute(name: str, value: str | int | None) -> str:
    if value is None:
        return ""
    return f' {name}="{value}"' if isinstance(value, int) else f" {name}={quoteattr(value)}"


def _broker_element(name: str) -> str:
    kind = address_kind(name)
    return f'<broker><address type="{kind}">{escape(name)}</address></broker>'


def _end_element(name: str, end: End | None) -> str:
    if end is None:
        return ""
    inside = ""
    if end.ipv4 is not None:  # a lease is one address, so its length is 32
        inside += f'<address type="ipv4" length="32">{end.ipv4}</address>'
    if end.ipv6 is not None:
        inside += f'<address type="ipv6">{escape(text6(end.ipv6))}</address>'
    if end.prefix is not None:
        text = "" if end.prefix.address is None else str(end.prefix.address)
        inside += f'<router><prefix length="{end.prefix.length}">{text}</prefix></router>'
    if end.keepalive is not None:
        to = end.keepalive.address
        address = "" if to is None else f'<address type="ipv4">{to}</address>'
        inside += f'<keepalive interval="{end.keepalive.interval_s}">{address}</keepalive>'
    return f"<{name}>{inside}</{name}>"
