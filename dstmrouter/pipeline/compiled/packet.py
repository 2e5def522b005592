"""One normal packet, compiled: what is read and checked, what is written.

Positions are addresses (`pointers`). Words that are only compared or copied stay as they lie in
memory, little-endian; `_wire` loads swap what is a number.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from dstmrouter.jit.functions import NONE, ONE, WORD, Truth, U, field_at, inlined, span
from dstmrouter.jit.pointers import (
    load8,
    load16,
    load16_wire,
    load32,
    load32_wire,
    load64,
    store8,
    store16,
    store16_wire,
    store32,
    store64,
    swapped16,
    swapped32,
)
from dstmrouter.pipeline.compiled.views import LINK
from dstmrouter.wire import ether, ipv4, ipv6, tcp

if TYPE_CHECKING:
    from dstmrouter.pipeline.compiled.views import World


def _wire(ethertype: int) -> np.uint64:
    return U(np.uint16(ethertype).byteswap())


ETHERTYPE_IPV4: Final = _wire(ether.ETHERTYPE_IPV4)
ETHERTYPE_IPV6: Final = _wire(ether.ETHERTYPE_IPV6)
_ETHERTYPE_VLAN: Final = _wire(ether.ETHERTYPE_VLAN)
_TYPE_AT: Final = U(ether.TYPES_AT)
_TYPE_LEN: Final = U(2)
_VID: Final = U(ether.VID_MASK)
UNTAGGED: Final = U(ether.HEADER_LEN)
TAGGED: Final = U(ether.TAGGED_LEN)
_LINK_SIZE: Final = U(LINK.itemsize)
_LINK_MAC, _LINK_VLAN, _LINK_TAG, _LINK_MTU = (field_at(LINK, name) for name in LINK.names or ())

V4_LEN: Final = U(ipv4.HEADER_LEN)
_V4_WITH_PORTS: Final = U(ipv4.PACKET_LEN)
_V4_VERSION_IHL: Final = U(0x45)
_V4_FRAGMENT_BITS: Final = U(ipv4.FRAGMENT_BITS)
_TOTAL_LEN_AT, _FRAGMENT_AT, _TTL_AT, _PROTOCOL_AT, _CHECKSUM_AT = (
    field_at(ipv4.HEADER, name) for name in ("total_len", "fragment", "ttl", "protocol", "checksum")
)
TOS_AT, SRC_AT, DST_AT = (field_at(ipv4.HEADER, name) for name in ("tos", "src", "dst"))

SRC_PORT_AT, DST_PORT_AT = V4_LEN, V4_LEN + U(2)

V6_LEN: Final = U(ipv6.HEADER_LEN)
V6_SRC_AT, V6_DST_AT = field_at(ipv6.HEADER, "src"), field_at(ipv6.HEADER, "dst")
_TCP, _SYN = U(tcp.PROTOCOL), U(tcp.SYN)
_FLAGS_AT: Final = V4_LEN + field_at(tcp.HEADER, "flags")
_V6_VERSION: Final = U(6)
_NEXT_IPV4: Final = U(ipv6.NEXT_IPV4)

OCTET: Final = U(0xFF)
HALF: Final = U(0xFFFFFFFF)
_PAIR: Final = U(0xFFFF)
_MAC: Final = U(0xFFFFFFFFFFFF)
_4, _15, _16, _24, _32, _44, _48, _56 = (U(n) for n in (4, 15, 16, 24, 32, 44, 48, 56))
_TTL_STEP: Final = U(0x0100)  # what the header's sum loses with one TTL


@inlined
def link_len(at: np.uint64, vlan: np.uint64) -> np.uint64:
    """Octets of the Ethernet header at `at`; 0 when its tag is not that of the port."""
    if load16(at + _TYPE_AT) != _ETHERTYPE_VLAN:
        return NONE if vlan else UNTAGGED
    return TAGGED if load16_wire(at + UNTAGGED) & _VID == vlan else NONE


@inlined
def ethertype(ip_at: np.uint64) -> np.uint64:
    """The ethertype right before an IP header, as on the wire."""
    return load16(ip_at - _TYPE_LEN)


@inlined
def is_normal(at: np.uint64, room: np.uint64) -> Truth:
    """R1 but for martians, and R4: a whole IPv4 packet without options that may go on."""
    first, third, addresses = load64(at), load32(at + _TTL_AT), load64(at + SRC_AT)
    total_len = swapped16(first >> _16)
    words = (first & HALF) + (first >> _32) + third + (addresses & HALF) + (addresses >> _32)
    return (
        first & OCTET == _V4_VERSION_IHL
        and total_len >= V4_LEN
        and total_len <= room
        and third & OCTET > ONE
        and words % _PAIR == NONE
    )


@inlined
def is_martian(address: np.uint64) -> Truth:
    """Whether a native address must not be on the Internet; as `wire.ipv4.MARTIAN`."""
    upper = address >> _24
    return upper == NONE or upper == U(127) or upper >= U(224) or address >> _16 == U(0xA9FE)


@inlined
def is_tep6(world: World, low: np.uint64, high: np.uint64) -> Truth:
    """R11: whether two wire words are one of our tunnel end points."""
    for i in span(NONE, world.tep_count):
        tep = world.teps + i * _16
        if load64(tep) == low and load64(tep + WORD) == high:
            return True
    return False


@inlined
def tunnelled_at(at: np.uint64, room: np.uint64, world: World) -> np.uint64:
    """R11, R1: where the inner packet of a normal tunnel packet is, or 0.

    Normal has IPv4 right behind the IPv6 header, and the same TOS in both (R7, R14: it then leaves
    as it is, whatever the rules).
    """
    first = load64(at)
    payload_len, inner_at = swapped16(first >> _32), at + V6_LEN
    traffic_class = swapped16(first) >> _4 & OCTET
    normal = (
        first >> _4 & _15 == _V6_VERSION
        and V6_LEN + payload_len <= room
        and first >> _48 & OCTET == _NEXT_IPV4
        and traffic_class == load8(inner_at + TOS_AT)
        and is_tep6(world, load64(at + V6_DST_AT), load64(at + V6_DST_AT + WORD))
        and is_normal(inner_at, payload_len)
    )
    return inner_at if normal else NONE


@inlined
def has_ports(at: np.uint64, world: World) -> Truth:
    """Whether the normal packet at `at` is whole and of a protocol that begins with two ports."""
    return (
        load64(world.port_weights + load8(at + _PROTOCOL_AT) * WORD) != NONE
        and load16(at + _FRAGMENT_AT) & _V4_FRAGMENT_BITS == NONE
        and total_length(at) >= _V4_WITH_PORTS
    )


@inlined
def port_at(at: np.uint64, place: np.uint64) -> np.uint64:
    """The port at `place`, SRC_PORT_AT or DST_PORT_AT, of a packet that has ports."""
    return load16_wire(at + place)


@inlined
def flow_label(at: np.uint64, total_len: np.uint64, world: World) -> np.uint64:
    """R8, as `dstmrouter.pipeline.flow` makes it."""
    ports = NONE
    if load16(at + _FRAGMENT_AT) & _V4_FRAGMENT_BITS == NONE and total_len >= _V4_WITH_PORTS:
        weight = load64(world.port_weights + load8(at + _PROTOCOL_AT) * WORD)
        ports = load32(at + V4_LEN) * weight
    mixed = load64(at + SRC_AT) * world.multiplier_1 + ports
    mixed ^= mixed >> _32
    label = mixed * world.multiplier_2 >> _44
    return label or ONE


@inlined
def opens_connection(at: np.uint64) -> Truth:
    """Whether the packet at `at`, without IP options, may be a TCP SYN; what it is, others see."""
    is_tcp: Truth = load8(at + _PROTOCOL_AT) == _TCP
    return is_tcp and load8(at + _FLAGS_AT) & _SYN != NONE


@inlined
def total_length(at: np.uint64) -> np.uint64:
    """Octets of the IPv4 packet at `at`, as its header says."""
    return load16_wire(at + _TOTAL_LEN_AT)


@inlined
def decrement_ttl(at: np.uint64) -> None:
    """R4; RFC 1624 equation 3, 0 in place of 0xFFFF."""
    store8(at + _TTL_AT, load8(at + _TTL_AT) - ONE)
    updated = load16_wire(at + _CHECKSUM_AT) + _TTL_STEP
    store16_wire(at + _CHECKSUM_AT, updated - _PAIR if updated >= _PAIR else updated)


@inlined
def hop_port(hop: np.uint64) -> np.uint64:
    """The port of a next hop, whose word is `mac | port | state`."""
    return hop >> _48 & OCTET


@inlined
def hop_state(hop: np.uint64) -> np.uint64:
    """Its state, a `HopState`."""
    return hop >> _56


@inlined
def link_mtu(world: World, port: np.uint64) -> np.uint64:
    """The MTU of a port."""
    return load64(world.links + port * _LINK_SIZE + _LINK_MTU)


@inlined
def write_link(world: World, end: np.uint64, hop: np.uint64, ethertype: np.uint64) -> np.uint64:
    """Put the Ethernet header towards `hop` before `end`; return where it starts."""
    link = world.links + hop_port(hop) * _LINK_SIZE
    ours, vlan = load64(link + _LINK_MAC), load64(link + _LINK_VLAN)
    at = end - (TAGGED if vlan else UNTAGGED)
    store64(at, hop & _MAC | ours << _48)
    store32(at + WORD, ours >> _16)
    if vlan:
        store32(at + _TYPE_AT, load64(link + _LINK_TAG))
    store16(end - _TYPE_LEN, ethertype)
    return at


@inlined
def write_outer(at: np.uint64, first_word: np.uint64, total_len: np.uint64, world: World) -> None:
    """R5, R6: the first eight octets of the IPv6 header at `at`."""
    lengths = swapped16(total_len) << _32 | _NEXT_IPV4 << _48 | world.hop_limit << _56
    store64(at, swapped32(first_word) | lengths)


@inlined
def address_at(at: np.uint64) -> np.uint64:
    """The IPv4 address at `at`, native."""
    return load32_wire(at)
