"""The IPv4 packets of a burst, whether they came plain or inside IPv6: columns, and rule R1."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Final, Literal, TypeAlias

import numpy as np
import numpy.typing as npt

from dstmrouter.pipeline import message_sum
from dstmrouter.pipeline.decide import any_of
from dstmrouter.pipeline.memory import pick, shaped
from dstmrouter.pipeline.verdict import Verdict
from dstmrouter.wire import checksum, ipv4
from dstmrouter.wire.constant import constant

if TYPE_CHECKING:
    from dstmrouter.pipeline.decide import Checks, Mask
    from dstmrouter.pipeline.memory import FrameMemory, Index, Records

_PORTS: Final = np.dtype([("ports", "<u4")])
_MIN_LEN: Final = constant(ipv4.HEADER_LEN, np.int64)
_WITH_PORTS: Final = constant(ipv4.PACKET_LEN, np.int64)
# Of the first word of a header: version, length and fragment bits, and what they are of plain ones.
_WHAT_IT_IS: Final = constant(int(ipv4.FRAGMENT_BITS.item()) << 48 | 0xFF, np.uint64)
_PLAIN: Final = constant(int(ipv4.VERSION_IHL.item()), np.uint64)
_LAST_TTL: Final = constant(1, np.uint8)
_CHECKSUM_AT_END: Final = constant(0xFFFE << 16, np.uint64)  # in the second word: 0xFFFE or 0xFFFF
_TTL_STEP: Final = constant((1 << 16) - 1, np.uint64)

Leased: TypeAlias = Literal["src_upper", "dst_upper"]
_OTHER: Final = {"src_upper": "dst_upper", "dst_upper": "src_upper"}


@dataclasses.dataclass(slots=True)  # frozen would cost 1 us a burst
class Inner:
    """Columns of n IPv4 packets."""

    at: Index  # where the IPv4 header starts, octets of frame memory
    header: Records  # copies, dtype ipv4.PACKET; changed on the way; `ports` right behind options
    total_len: npt.NDArray[np.int64]  # octets
    dst: npt.NDArray[np.uint32]
    plain: bool = False  # all are whole packets of 24 octets or more without options; may be False

    def __len__(self) -> int:
        return len(self.at)

    @property
    def src(self) -> npt.NDArray[np.uint32]:
        """Source addresses, native."""
        src: npt.NDArray[np.uint32] = self.header["src"].astype(np.uint32)
        return src

    def take(self, keep: Index) -> Inner:
        """The packets at the positions `keep`."""
        header, total_len = pick(self.header, keep), self.total_len[keep]
        return Inner(self.at[keep], header, total_len, self.dst[keep], self.plain)


def joined(some: Inner, others: Inner) -> Inner:
    """The packets of both, `some` first."""
    header = np.concatenate((_opaque(some.header), _opaque(others.header)))
    return Inner(
        np.concatenate((some.at, others.at)),
        shaped(header, ipv4.PACKET),
        np.concatenate((some.total_len, others.total_len)),
        np.concatenate((some.dst, others.dst)),
    )


def _opaque(header: Records) -> Records:
    return header.view(f"V{header.dtype.itemsize}")


def read(
    memory: FrameMemory,
    at: Index,
    room: npt.NDArray[np.int64],
    header: Records | None,
    leased: Leased,
) -> tuple[Inner, Checks]:
    """The packets at `at`, each with `room` octets up to its end; check R1.

    `header` are their headers (dtype ipv4.PACKET), if they have been read already. Whatever lies
    there is read before it is checked: FrameMemory has room behind the last frame. `leased` says
    which address is going to be looked up: no martian one is ever bound.
    """
    if header is None:
        header = memory.read(at, ipv4.PACKET)
    total_len = header["total_len"].astype(np.int64)
    dst = header["dst"].astype(np.uint32)
    bad_sum = checksum.wrong(header["words"])
    malformed = total_len > room
    odd = header["start"] & _WHAT_IT_IS != _PLAIN  # options and fragments in one look
    plain = not (any_of(odd) or any_of(total_len < _WITH_PORTS))
    inner = Inner(at, header, total_len, dst, plain)
    if not plain:
        malformed |= total_len < _MIN_LEN
        optional = np.flatnonzero(header["version_ihl"] != ipv4.VERSION_IHL)
        if len(optional):
            _read_options(memory, inner, optional, bad_sum, malformed)
    packets = header
    checks = (
        (malformed, lambda: too_short(room, Verdict.DROP_V4_MALFORMED)),
        (bad_sum, Verdict.DROP_V4_CHECKSUM),
        (ipv4.MARTIAN.take(header[_OTHER[leased]]), Verdict.DROP_V4_MARTIAN),
        (lambda: ipv4.MARTIAN.take(packets[leased]), Verdict.DROP_V4_MARTIAN),
    )
    return inner, checks


def too_short(room: npt.NDArray[np.int64], otherwise: Verdict) -> npt.NDArray[np.uint8]:
    """Verdicts for what is malformed: a frame without a whole link header carries no IP at all."""
    return np.where(room < 0, Verdict.DROP_NOT_IP, otherwise).astype(np.uint8)


def read_ports(memory: FrameMemory, inner: Inner) -> None:
    """Put what stands behind options in the place of the ports, where there are options."""
    rows = np.flatnonzero(inner.header["version_ihl"] != ipv4.VERSION_IHL)
    if len(rows):
        behind = inner.at[rows] + ipv4.header_len(inner.header["version_ihl"][rows])
        inner.header["ports"][rows] = memory.read(behind, _PORTS)["ports"]


def _read_options(
    memory: FrameMemory, inner: Inner, rows: Index, bad_sum: Mask, malformed: Mask
) -> None:
    """Correct checksum, length check and ports of the rows whose header is not 20 octets long."""
    version_ihl = inner.header["version_ihl"][rows]
    header_len, total_len = ipv4.header_len(version_ihl), inner.total_len[rows]
    malformed[rows] |= (
        (version_ihl >> 4 != 4) | (header_len < ipv4.HEADER_LEN) | (total_len < header_len)
    )
    fine = ~malformed[rows]
    rows, header_len = rows[fine], header_len[fine]
    at = inner.at[rows]
    bad_sum[rows] = ~message_sum.right(memory, at, header_len)
    has_ports = inner.total_len[rows] >= header_len + _PORTS.itemsize
    ports = memory.read(at + header_len, _PORTS)["ports"]
    inner.header["ports"][rows] = np.where(has_ports, ports, 0)


# What is changed on the way is changed in the columns; `egress` writes it with the link header.


def ttl_check(packets: Inner) -> tuple[Mask, Verdict]:
    """R4: a packet with a TTL of 1 or 0 goes no further."""
    return packets.header["ttl"] <= _LAST_TTL, Verdict.DROP_TTL


def decrement_ttl(packets: Inner) -> None:
    """R4: the tunnel and we are one hop; RFC 2473 section 3.1, RFC 1624.

    TTL and checksum stand in the same word. One less in its first octet is one more in the checksum
    as it stands on the wire, unless that is at its end and goes over: that has one in 32,768, and
    then the table tells. 3.6 us for 1,024 packets; the table alone takes 5.6.
    """
    words = packets.header["ttl_to_src"]
    if any_of(words & _CHECKSUM_AT_END == _CHECKSUM_AT_END):
        packets.header["ttl"] -= _LAST_TTL
        field = packets.header["raw_checksum"]
        field[:] = checksum.AFTER_TTL_STEP.take(field)
        return
    words += _TTL_STEP


def set_ttl(packets: Inner, ttl: int) -> None:
    """For packets that start here."""
    header = packets.header
    less = (header["ttl"].astype(np.int64) - ttl) << 8
    header["checksum"] = checksum.updated(header["checksum"].astype(np.int64), less)
    header["ttl"] = ttl


def set_tos(packets: Inner, tos: npt.NDArray[np.uint8]) -> None:
    """DSCP and ECN, shape (n,); R7, R14."""
    header = packets.header
    before = header["tos"]
    less = before.astype(np.int64) - tos
    header["checksum"] = checksum.updated(header["checksum"].astype(np.int64), less)
    header["tos"] = tos
