"""What the frames of a burst carry: ethertypes, and at most one 802.1Q tag."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Final

import numpy as np
import numpy.typing as npt

from dstmrouter.pipeline.decide import any_of, survivors
from dstmrouter.pipeline.verdict import Verdict
from dstmrouter.wire import ether, ipv4, ipv6
from dstmrouter.wire.constant import constant

if TYPE_CHECKING:
    from dstmrouter.pipeline.memory import FrameMemory, Index, Records

_TAG_LEN: Final = ether.TAGGED_LEN - ether.HEADER_LEN
_ROWS: Final = np.arange(1 << 16)  # the rows of any burst are the first of these
_INNER_AT: Final = ether.HEADER_LEN + ipv6.HEADER_LEN
_HEADER_LEN: Final = constant(ether.HEADER_LEN, np.intp)
# Two cache lines of every frame, also where fewer octets are wanted: another CPU has written them,
# and fetching them all at once is cheaper (60 ns a packet) than one by one when they are sent.
# The destination's MAC address is left out: with six octets less, all words of headers stand where
# they should, and numpy need not copy them before it works on them.
_SKIPPED: Final = 6
_HEAD_LEN: Final = _INNER_AT + ipv4.PACKET_LEN - _SKIPPED
_HEAD_AT: Final = constant(_SKIPPED, np.intp)
_IPV4: Final = np.uint16(ether.ETHERTYPE_IPV4).byteswap()  # as it stands on the wire
_IPV6: Final = np.uint16(ether.ETHERTYPE_IPV6).byteswap()


def _head(**fields: tuple[int, np.dtype[np.void]]) -> np.dtype[np.void]:
    """An untagged frame from octet 6 on: its ethertype, and the headers `fields`."""
    return np.dtype(
        {
            "names": ["type", *fields],
            "formats": [np.dtype("<u2"), *(form for _, form in fields.values())],
            "offsets": [
                at - _SKIPPED for at in (ether.TYPES_AT, *(at for at, _ in fields.values()))
            ],
            "itemsize": _HEAD_LEN,
        }
    )


_HEAD_4: Final = _head(packet=(ether.HEADER_LEN, ipv4.PACKET))
_HEAD_6: Final = _head(outer=(ether.HEADER_LEN, ipv6.HEADER), packet=(_INNER_AT, ipv4.PACKET))
_HEADS: Final = {  # by ethertype as on the wire
    _IPV4.tobytes(): (_HEAD_4, constant(int(_IPV4), np.uint16)),
    _IPV6.tobytes(): (_HEAD_6, constant(int(_IPV6), np.uint16)),
}


@dataclasses.dataclass(slots=True)  # frozen would cost 1 us a burst
class Packets:
    """IP packets of one version in their frames, n of them."""

    rows: Index  # which frames of the burst
    at: Index  # where the IP header starts, octets of frame memory
    room: npt.NDArray[np.int64]  # octets from there to the end of the frame
    head: Records | None = None  # copies of their headers, if they were read with the ethertype

    def take(self, keep: Index) -> Packets:
        """The packets at the positions `keep`."""
        return Packets(self.rows[keep], self.at[keep], self.room[keep])


def split(
    memory: FrameMemory,
    at: Index,
    length: npt.NDArray[np.int64],
    vlan: int,
    verdicts: npt.NDArray[np.uint8],
) -> tuple[Packets | None, Packets | None]:
    """The IPv4 and the IPv6 packets of a burst; all other frames get their verdict.

    `at` is where the frames start, `length` their octets. `vlan` 0 wants frames without a tag or
    with a tag of VID 0, which only carries a priority (IEEE 802.1Q section 6.9).

    Normally all frames carry the same. So they are read as the first one suggests, ethertype and
    headers at once: that saves two gathers of 7 ns a packet.
    """
    if vlan == 0:
        found = _HEADS.get(memory.octets(at.item(0) + ether.TYPES_AT, 2))
        if found is not None:
            dtype, ethertype = found
            head = memory.read(at + _HEAD_AT, dtype)
            if not any_of(head["type"] != ethertype):
                rows = _ROWS[: len(at)]
                packets = Packets(rows, at + _HEADER_LEN, length - _HEADER_LEN, head)
                return (packets, None) if dtype is _HEAD_4 else (None, packets)
    return _split_mixed(memory, at, length, vlan, verdicts)


def _split_mixed(
    memory: FrameMemory,
    at: Index,
    length: npt.NDArray[np.int64],
    vlan: int,
    verdicts: npt.NDArray[np.uint8],
) -> tuple[Packets | None, Packets | None]:
    types = memory.read(at + ether.TYPES_AT, ether.TYPES)
    ethertype = types["type"].astype(np.uint16)
    tagged = ethertype == ether.ETHERTYPE_VLAN
    wrong = tagged if vlan == 0 else ~tagged
    shift: Index | np.intp = _HEADER_LEN
    if tagged.any():
        vid = types["tci"] & ether.VID_MASK
        wrong = np.where(tagged, vid != vlan, bool(vlan))
        ethertype = np.where(tagged, types["inner_type"].astype(np.uint16), ethertype)
        shift = _HEADER_LEN + tagged.astype(np.intp) * _TAG_LEN
    packets = Packets(_ROWS[: len(at)], at + shift, length - shift)
    ipv4, ipv6 = ethertype == ether.ETHERTYPE_IPV4, ethertype == ether.ETHERTYPE_IPV6
    keep = survivors(
        (
            (packets.room < 0, Verdict.DROP_NOT_IP),
            (wrong, Verdict.DROP_VLAN),
            (~(ipv4 | ipv6), Verdict.DROP_NOT_IP),
        ),
        verdicts,
        packets.rows,
    )
    if keep is not None:
        packets, ipv4, ipv6 = packets.take(keep), ipv4[keep], ipv6[keep]
    return _only(packets, ipv4), _only(packets, ipv6)


def _only(packets: Packets, mask: npt.NDArray[np.bool_]) -> Packets | None:
    keep = np.flatnonzero(mask)
    return packets.take(keep) if len(keep) else None
