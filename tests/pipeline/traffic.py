"""Hypothesis strategies: frames of all kinds, most of them nearly right."""

from __future__ import annotations

import random
import struct
from functools import cache, lru_cache
from typing import TYPE_CHECKING, Final, TypeVar

from hypothesis import strategies as st

from tests.pipeline import packets, worlds

if TYPE_CHECKING:
    from collections.abc import Iterable
    from ipaddress import IPv4Address, IPv6Address

MAX_FRAME: Final = 1700  # octets; headroom, shift and frame fit a chunk of 2048
MAX_SHIFT: Final = 90
SHARER: Final = 5  # the client that has port sets of several addresses

T = TypeVar("T")


@lru_cache(maxsize=None, typed=True)
def _kept(*values: T) -> st.SearchStrategy[T]:
    return st.sampled_from(values)


def _one_of(values: Iterable[T]) -> st.SearchStrategy[T]:
    """`st.sampled_from`, made once: hypothesis examines each new one longer than a draw takes."""
    return _kept(*values)


_IN_POOL: Final = [
    worlds.leased(number) for number in (1, 1, 1, 2, 3, 4, 5, 5, 5, 6, 7, 18, 18, 19, 20, 200)
]
_OURS: Final = [*_IN_POOL, worlds.POOLS[1][9], worlds.POOLS[1][10], worlds.TEP4]
_OUTSIDE: Final = [
    packets.FAR,
    *("10.1.0.1", "10.1.2.3", "10.2.0.1", "10.3.0.1", "10.4.0.1", "10.5.0.1", "198.51.100.1"),
    *[packets.FAR] * 6,
    *("0.1.2.3", "127.0.0.1", "169.254.1.1", "224.0.0.5", "240.0.0.1", "255.255.255.255"),
]
_addresses4: Final[st.SearchStrategy[IPv4Address | str]] = st.sampled_from([*_OURS, *_OUTSIDE])
# No operation; router alert, copied; record route, not copied; end of the list; two odd lengths.
_options: Final = st.sampled_from(
    [bytes.fromhex(text) for text in ("01010101", "94040000", "07040400", "00", "9401ffff", "9408")]
).map(lambda option: option.ljust(4, b"\0"))
_sources4: Final = st.one_of(st.just(packets.FAR), st.just(packets.FAR), _addresses4)
_option_lists: Final[st.SearchStrategy[list[bytes]]] = st.one_of(
    st.just([]), st.just([]), st.lists(_options, max_size=10)
)
_chains: Final = st.lists(st.sampled_from([60, 60, 0]), max_size=5)
_SIZES: Final = (0, 1, 3, 4, 5, 6, 40, 541, 572, 580, 581, 600, 1200, 1400, 1440, 1441, 1500, 1600)
_tos: Final = st.one_of(st.just(0), st.integers(0, 255))


_ports: Final = st.one_of(st.sampled_from(worlds.PORTS), st.integers(0, 0xFFFF))


@st.composite
def payloads(draw: st.DrawFn, src: IPv4Address | str, dst: IPv4Address | str) -> tuple[int, bytes]:
    """A protocol number and what it carries from `src` to `dst`."""
    protocol = draw(_one_of([1, 1, 6, 6, 17, 17, 33, 132, 47, 50]))
    if protocol == 1:
        message = draw(st.one_of(_echoes(), _errors(src, dst)))
        return 1, message[: draw(_one_of([len(message), len(message), 7]))]
    size = draw(
        _one_of([0, 1, 3, 4, 5, 6, 40, 541, 572, 580, 581, 600, 1200, 1400, 1440, 1441, 1500, 1600])
    )
    ports = packets.ports(draw(_ports), draw(_ports), b"")
    return protocol, (ports + bytes(size))[:size]


@st.composite
def _echoes(draw: st.DrawFn) -> bytes:
    kind = draw(_one_of([8, 8, 8, 0, 3, 13]))
    code = draw(_one_of([0, 0, 0, 1]))
    message = bytearray(
        packets.echo(kind, ident=draw(_ports), code=code, data=draw(st.binary(max_size=20)))
    )
    message[-1] ^= draw(_one_of([0, 0, 0, 4]))
    return bytes(message)


@st.composite
def _errors(draw: st.DrawFn, src: IPv4Address | str, dst: IPv4Address | str) -> bytes:
    """ICMP errors from `src` to `dst`; most quote a packet that went the other way."""
    ways = [(dst, src)] * 6 + [(src, dst), (dst, packets.FAR), (packets.FAR, src)]
    was_from, was_to = draw(_one_of(ways))
    protocol = draw(_one_of([6, 17, 17, 33, 132, 1, 1, 47]))
    payload = packets.ports(draw(_ports), draw(_ports))
    if protocol == 1:
        payload = packets.echo(draw(_one_of([8, 0, 8, 3])), ident=draw(_ports))
    quoted = packets.ipv4(
        was_from,
        was_to,
        payload[: draw(_one_of([99, 99, 8, 7]))],
        options=b"\x01" * 4 * draw(_one_of([0, 0, 0, 1, 10])),
        fragment=draw(_one_of([0, 0x4000, 0x4000, 0x2000, 1])),
        protocol=protocol,
        version=draw(_one_of([4] * 9 + [6])),
        words=draw(_one_of([None] * 12 + [4, 15])),
        sum_off=draw(_one_of([0] * 9 + [1])),
    )
    quoted = quoted[: draw(_one_of([len(quoted)] * 5 + [19, 20, 27]))]
    kind = draw(_one_of([3, 3, 11, 12, 4, 5]))
    return packets.error(quoted, kind, sum_off=draw(_one_of([0] * 9 + [256])))


@st.composite
def ipv4_packets(
    draw: st.DrawFn, holder: IPv4Address | None = None, to: IPv4Address | None = None
) -> bytes:
    """IPv4 packets; two of three are as they should be."""
    src = holder or draw(_sources4)
    dst = to or draw(_addresses4)
    protocol, payload = draw(payloads(src, dst))
    broken = draw(_one_of([*[None] * 24, "version", "words", "longer", "sum_off"]))
    wrong = {
        "version": _one_of([0, 5, 6, 15]),
        "words": st.integers(0, 15),
        "longer": st.integers(-70, 70),
        "sum_off": st.integers(1, 0xFFFF),
    }
    options = draw(_option_lists)
    return packets.ipv4(
        src,
        dst,
        payload,
        options=b"".join(options),
        tos=draw(_tos),
        ident=draw(st.integers(0, 0xFFFF)),
        fragment=draw(_one_of([0, 0x4000, 0x4000, 0x2000, 0x2005, 5, 0x1FFF, 0x8000])),
        ttl=draw(_one_of([64] * 9 + [255, 3, 2, 1, 0])),
        protocol=protocol,
        **({} if broken is None else {broken: draw(wrong[broken])}),
    )


@st.composite
def _extensions(draw: st.DrawFn, follows: int) -> tuple[int, bytes]:
    """Options headers, 0 to 5 of them, before a header of the kind `follows`."""
    chain = draw(_chains)
    if draw(st.booleans()):
        chain = chain[:1]
    octets = b""
    for number in range(len(chain)):
        behind = chain[number + 1] if number + 1 < len(chain) else follows
        limit = draw(st.booleans())
        len8 = 0 if limit else draw(_one_of([0, 0, 1, 2, 255]))
        body = packets.OPTIONS[2:] if limit else b"\x01" + bytes(5)
        octets += struct.pack("!BB", behind, len8) + body + bytes(min(len8, 3) * 8)
    return (chain[0] if chain else follows), octets


@st.composite
def tunnel_packets(draw: st.DrawFn) -> bytes:
    """IPv6 packets; most are of a client that may send what is inside."""
    number = draw(_one_of([1, 1, 1, 2, 3, 4, SHARER, SHARER, SHARER, 6, 7, 9]))
    honest = draw(_one_of([True, True, True, True, False]))
    src6: IPv6Address = worlds.CLIENTS6[number if honest else 8]
    leased = worlds.leased(draw(_one_of([5, 18, 19, 20])) if number == SHARER else number)
    inner = draw(ipv4_packets(leased if draw(st.integers(0, 7)) else None))
    follows = draw(_one_of([4] * 9 + [44, 58, 17, 41]))
    plain = draw(_one_of([True, True, False]))
    next_header, octets = (follows, b"") if plain else draw(_extensions(follows))
    dst = draw(_one_of([worlds.TEP6] * 4 + [worlds.TEP6_B, worlds.TEP6_C, worlds.CLIENTS6[2]]))
    return packets.ipv6(
        octets + inner,
        src6,
        dst,
        traffic_class=inner[1] if draw(st.booleans()) else draw(_tos),
        next_header=next_header,
        version=draw(_one_of([6] * 30 + [4, 7])),
        longer=draw(_one_of([0] * 24 + [-1, 1, -20, 60000])),
    )


@st.composite
def icmpv6_errors(draw: st.DrawFn) -> bytes:
    """ICMPv6 errors about tunnel packets; most of them about some that we may have sent."""
    number = draw(_one_of([1] * 9 + [2, 3, 4, 9] + [SHARER] * 4))
    leased = worlds.leased(draw(_one_of([5, 18, 19, 20])) if number == SHARER else number)
    to = leased if draw(_one_of([True] * 9 + [False])) else None
    inner = draw(ipv4_packets(draw(_one_of([packets.FAR, *_OURS])), to))
    tep6 = {2: worlds.TEP6_B, 3: worlds.TEP6_C}.get(number, worlds.TEP6)
    tep6 = draw(_one_of([tep6] * 20 + [worlds.TEP6, worlds.CLIENTS6[8]]))
    pieces = [struct.pack("!BBHI", 4, 0, offset, 77) for offset in (0, 1, 1, 8, 0xFFF8)]
    plain = [(4, b"")] * 9 + [(60, packets.OPTIONS)] * 3 + [(44, piece) for piece in pieces]
    odd = draw(_one_of([False] * 7 + [True]))
    follows, octets = draw(_extensions(4) if odd else _one_of(plain))
    quoted = packets.ipv6(octets + inner, tep6, worlds.CLIENTS6[number], next_header=follows)
    size = draw(_one_of([len(quoted)] * 40 + [39, 40, 47, 48, 67, 68, 69, 75, 76, 1232]))
    kind, code = draw(
        _one_of([(2, 0)] * 3 + [(1, 0), (1, 3), (1, 5), (3, 0), (3, 1), (4, 0), (4, 1)])
    )
    rest = draw(_one_of([44, 0, 1279, 1280, 1400, 1500, 70_000, 0xFFFFFFFF]))
    off = draw(_one_of([0] * 12 + [1]))
    sender = draw(_one_of([worlds.CLIENTS6[1], worlds.CLIENTS6[8]]))
    ours = draw(_one_of([worlds.TEP6] * 8 + [worlds.TEP6_B]))
    return packets.icmpv6(kind, code, rest, quoted[:size], sender, ours, off=off)


@cache
def _packets() -> st.SearchStrategy[bytes]:
    return st.one_of(ipv4_packets(), tunnel_packets(), icmpv6_errors())


@st.composite
def frames(draw: st.DrawFn) -> bytes:
    """Ethernet frames: tagged or not, padded, cut, corrupted, and of other protocols."""
    packet = draw(_packets())
    tci = draw(_one_of([None] * 20 + [0, 0xE000, 77, 0x6000 | 77, 78]))
    ethertype = draw(_one_of([None] * 40 + [0x0806, 0x86DD, 0x0800, 0x8100]))
    frame = packets.ether(packet, tci, ethertype)
    frame += bytes(draw(_one_of([0, 0, 0, 1, 46])))
    match draw(_one_of(["whole"] * 12 + ["cut", "corrupt"])):
        case "cut":
            frame = frame[: draw(st.integers(0, len(frame)))]
        case "corrupt":
            frame = _corrupted(frame, draw(st.integers(0, 1 << 30)))
    return frame[:MAX_FRAME]


def _corrupted(frame: bytes, seed: int) -> bytes:
    """One to three octets of the first 80 replaced."""
    dice = random.Random(seed)
    octets = bytearray(frame)
    for _ in range(dice.randint(1, 3)):
        octets[dice.randrange(min(80, len(octets)))] = dice.randrange(256)
    return bytes(octets)
