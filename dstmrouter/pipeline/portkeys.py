"""What says whose a packet of a shared address is: a port, or the identifier of an ICMP message.

Towards clients that is the destination port, from them the source port. ICMP echo messages have
their identifier in its place, in both directions (RFC 7596 section 8.1, RFC 5508; rule R25). ICMP
errors are keyed by the packet they quote, which went the other way: towards clients by its source
port, from them by its destination port (RFC 5508 section 4.1, REQ-3 and REQ-4). Nothing else has a
key.

What is damaged would lead to a client by chance: the checksums of an ICMP message and of the IPv4
header that it quotes must be right. Those of TCP and UDP are the business of the ends.
"""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np
import numpy.typing as npt

from dstmrouter.pipeline import message_sum
from dstmrouter.pipeline.bindings import RowKind
from dstmrouter.wire import ipv4

if TYPE_CHECKING:
    from dstmrouter.pipeline.inner import Inner
    from dstmrouter.pipeline.memory import FrameMemory, Index

FINE: Final = RowKind.BOUND
"""Among kinds: the packet has a key."""

_HEAD: Final = np.dtype(
    {
        "names": ["type", "ident", "ports"],
        "formats": ["u1", ">u2", "<u4"],
        "offsets": [0, 4, 0],
        "itemsize": 8,
    }
)
"""The first octets behind an IPv4 header: of an ICMP message (RFC 792), or two ports."""
_HEAD_LEN: Final = 8
_PORTS_LEN: Final = 4
_ERRORS: Final = (3, 4, 5, 11, 12)  # RFC 1122 section 3.2.2
_QUERIES: Final = (ipv4.ICMP_ECHO_REPLY, ipv4.ICMP_ECHO_REQUEST)


def _marked(numbers: tuple[int, ...]) -> npt.NDArray[np.bool_]:
    table = np.zeros(256, np.bool_)
    table[list(numbers)] = True
    return table


HAS_PORTS: Final = _marked(ipv4.PROTOCOLS_WITH_PORTS)
IS_ERROR: Final = _marked(_ERRORS)
IS_QUERY: Final = _marked(_QUERIES)


class Side(Enum):
    """Which address of a packet is looked up."""

    SRC = "src"  # it comes from a client
    DST = "dst"  # it goes to a client


class Keys(NamedTuple):
    """Keys of n packets; where `why` is not FINE there is none, and `why` is the RowKind for it."""

    port: npt.NDArray[np.int64]
    why: npt.NDArray[np.uint8]


def of(memory: FrameMemory, packets: Inner, side: Side) -> Keys:
    """Keys of packets, whether R1 has been checked or not."""
    header = packets.header
    header_len = ipv4.header_len(header["version_ihl"])
    port = of_pair(header["ports"].byteswap(), side)
    has_ports = HAS_PORTS.take(header["protocol"]) & (packets.total_len >= header_len + _PORTS_LEN)
    why = np.where(has_ports, FINE, RowKind.NO_PORT).astype(np.uint8)
    piece = header["fragment"] & ipv4.FRAGMENT_BITS != 0
    why[piece] = RowKind.PIECE
    icmp = np.flatnonzero((header["protocol"] == ipv4.PROTOCOL_ICMP) & ~piece)
    if len(icmp):
        port[icmp], why[icmp] = _of_icmp(memory, packets.take(icmp), header_len[icmp], side)
    return Keys(port, why)


def _of_icmp(memory: FrameMemory, packets: Inner, header_len: Index, side: Side) -> Keys:
    at, size = packets.at + header_len, packets.total_len - header_len
    head = memory.read(at, _HEAD)
    query = IS_QUERY.take(head["type"]) & (size >= _HEAD_LEN)
    port = head["ident"].astype(np.int64)
    why = np.where(query, FINE, RowKind.NO_PORT).astype(np.uint8)
    errors = np.flatnonzero(IS_ERROR.take(head["type"]))
    if len(errors):
        quoted = at[errors] + _HEAD_LEN, size[errors] - _HEAD_LEN
        ours = (packets.dst if side is Side.DST else packets.src)[errors]
        port[errors], why[errors] = of_quoted(memory, *quoted, ours, side)
    summed = np.flatnonzero(why == FINE)
    wrong = ~message_sum.right(memory, at[summed], size[summed])
    why[summed[wrong]] = RowKind.DAMAGED
    return Keys(port, why)


def of_quoted(
    memory: FrameMemory,
    at: Index,
    room: npt.NDArray[np.int64],
    ours: npt.NDArray[np.uint32],
    side: Side,
) -> Keys:
    """Keys of packets that errors quote at `at`, up to `room` octets; `ours` is the client.

    `side` is that of the errors: what one from a client quotes went to it.
    """
    header = memory.read(at, ipv4.PACKET)
    header_len = ipv4.header_len(header["version_ihl"])
    head = memory.read(at + header_len, _HEAD)
    was, opposite = ("src", Side.SRC) if side is Side.DST else ("dst", Side.DST)
    whole = (
        (header["version_ihl"] >> 4 == 4)
        & (header_len >= ipv4.HEADER_LEN)
        & (room >= header_len + _HEAD_LEN)
    )
    query = (header["protocol"] == ipv4.PROTOCOL_ICMP) & IS_QUERY.take(head["type"])
    known = (
        whole
        & (HAS_PORTS.take(header["protocol"]) | query)
        & (header["fragment"] & ipv4.OFFSET_BITS == 0)
        & (header[was] == ours)
    )
    port = np.where(query, head["ident"], of_pair(head["ports"].byteswap(), opposite)).astype(
        np.int64
    )
    why = np.where(known, FINE, RowKind.NO_PORT).astype(np.uint8)
    why[known & ~message_sum.right(memory, at, header_len)] = RowKind.DAMAGED
    return Keys(port, why)


def of_pair(ports: npt.NDArray[np.uint32], side: Side) -> npt.NDArray[np.int64]:
    """One of two ports, of which the source port is the upper half."""
    both = ports.astype(np.int64)
    return both >> 16 if side is Side.SRC else both & 0xFFFF
