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
from enum import Enum
from ipaddress import IPv4Address, IPv6Address
from typing import TYPE_CHECKING, Final
from xml.etree.ElementTree import ParseError
from xml.sax.saxutils import escape, quoteattr

from defusedxml import DefusedXmlException
from defusedxml.ElementTree import fromstring

from dstmrouter.protocols.tsp_status import Status, TspError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from xml.etree.ElementTree import Element

TUNNEL_TYPE: Final = "v4v6"
DEPTH_LIMIT: Final = 8
ELEMENT_LIMIT: Final = 256
SECONDS_LIMIT: Final = 0xFFFFFFFE  # what a binding can carry
BROKER_LIMIT: Final = 50
NAME_LIMIT: Final = 255  # characters of a broker's address, RFC 1035 section 2.3.4

SECONDS: Final = "ds-lease-seconds"


class Action(Enum):
    """What a body asks for or tells."""

    CREATE = "create"
    INFO = "info"
    ACCEPT = "accept"
    REJECT = "reject"
    DELETE = "delete"
    LIST = "list"


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
    try:
        action = Action(root.get("action", ""))
    except ValueError:
        raise _malformed("expected action create, info, accept, reject or delete") from None
    return Tunnel(
        action=action,
        type=root.get("type", TUNNEL_TYPE).strip().lower(),
        lifetime_min=_number(root, "lifetime", SECONDS_LIMIT // 60),
        lease_s=_number(root, SECONDS, SECONDS_LIMIT),
        server=_end(root.find("server")),
        client=_end(root.find("client")),
        brokers=tuple(_brokers(root)),
    )


def encode(tunnel: Tunnel) -> bytes:
    """Write a body: one line, with its end."""
    attributes: dict[str, str | int | None] = {"action": tunnel.action.value, "type": tunnel.type}
    attributes |= {"lifetime": tunnel.lifetime_min, SECONDS: tunnel.lease_s}
    inside = "".join(_broker_element(name) for name in tunnel.brokers)
    inside += _end_element("server", tunnel.server) + _end_element("client", tunnel.client)
    return f"{_element('tunnel', attributes, inside)}\r\n".encode()


def _tree(body: bytes) -> Element:
    try:
        root: Element = fromstring(body.strip(b"\0 \t\r\n").decode("utf-8"), forbid_dtd=True)
    except (ParseError, DefusedXmlException, ValueError):
        raise _malformed("expected a well-formed body without DTD, in UTF-8") from None
    level, total = [root], 1
    for _ in range(DEPTH_LIMIT):
        level = [child for element in level for child in element]
        total += len(level)
        if not level and total <= ELEMENT_LIMIT:
            return root
    raise _malformed(f"expected at most {DEPTH_LIMIT} levels and {ELEMENT_LIMIT} elements")


def _malformed(text: str) -> TspError:
    return TspError(Status.BAD_REQUEST, text)


def _number(element: Element, name: str, limit: int) -> int | None:
    text = element.get(name)
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
    for address in element.iterfind("address"):
        kind = address.get("type", "").strip().lower()
        if kind == "ipv4":
            ipv4 = _ipv4(address.text)
        elif kind == "ipv6":
            ipv6 = _ipv6(address.text)
    keepalive, prefix = element.find("keepalive"), element.find("router/prefix")
    return End(
        ipv4=ipv4,
        ipv6=ipv6,
        keepalive=_keepalive(keepalive) if keepalive is not None else None,
        prefix=_prefix(prefix) if prefix is not None else None,
    )


def _keepalive(element: Element) -> Keepalive:
    address = element.find("address[@type='ipv4']")
    interval_s = _number(element, "interval", 86400)
    if interval_s is None:
        raise _malformed("element keepalive: expected attribute interval")
    return Keepalive(
        interval_s=interval_s, address=_ipv4(address.text) if address is not None else None
    )


def _prefix(element: Element) -> Prefix:
    length = _number(element, "length", 32)
    if length is None:
        raise _malformed("element prefix: expected attribute length")
    inner = element.find("address")
    text = (element if inner is None else inner).text or ""
    return Prefix(length=length, address=_ipv4(text) if text.strip() else None)


def _ipv4(text: str | None) -> IPv4Address:
    try:
        return IPv4Address((text or "").strip())
    except ValueError:
        raise TspError(Status.BAD_IPV4, "expected an IPv4 address") from None


def _ipv6(text: str | None) -> IPv6Address:
    try:
        return IPv6Address((text or "").strip())
    except ValueError:
        raise TspError(Status.BAD_IPV6, "expected an IPv6 address") from None


def _brokers(root: Element) -> Iterator[str]:
    """Where to go instead, at most `BROKER_LIMIT` addresses and names."""
    found = [address for broker in root.iterfind("broker") for address in broker.iter("address")]
    for address in found[:BROKER_LIMIT]:
        name = (address.text or "").strip()
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


def _element(name: str, attributes: dict[str, str | int | None], inside: str = "") -> str:
    given = "".join(
        f" {key}={quoteattr(str(value))}" for key, value in attributes.items() if value is not None
    )
    return f"<{name}{given}>{inside}</{name}>"


def _broker_element(name: str) -> str:
    address = _element("address", {"type": address_kind(name)}, escape(name))
    return _element("broker", {}, address)


def _end_element(name: str, end: End | None) -> str:
    if end is None:
        return ""
    inside = "".join(_address_elements(end))
    if end.prefix is not None:
        text = "" if end.prefix.address is None else str(end.prefix.address)
        inside += _element("router", {}, _element("prefix", {"length": end.prefix.length}, text))
    if end.keepalive is not None:
        to = end.keepalive.address
        inside += _element(
            "keepalive", {"interval": end.keepalive.interval_s}, "".join(_ipv4_elements(to))
        )
    return _element(name, {}, inside)


def _address_elements(end: End) -> Iterator[str]:
    # A lease is one address, so its length is 32.
    if end.ipv4 is not None:
        yield _element("address", {"type": "ipv4", "length": 32}, str(end.ipv4))
    if end.ipv6 is not None:
        yield _element("address", {"type": "ipv6"}, str(end.ipv6))


def _ipv4_elements(address: IPv4Address | None) -> Iterable[str]:
    return () if address is None else (_element("address", {"type": "ipv4"}, str(address)),)
