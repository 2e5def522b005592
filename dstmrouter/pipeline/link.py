"""What the frames of a burst carry: ethertypes, and at most one 802.1Q tag."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Final

import numpy as np
import numpy.typing as npt

from dstmrouter.pipeline.decide import survivors
from dstmrouter.pipeline.verdict import Verdict
from dstmrouter.wire import ether

if TYPE_CHECKING:
    from dstmrouter.pipeline.memory import FrameMemory, Index

_TAG_LEN: Final = ether.TAGGED_LEN - ether.HEADER_LEN
_ROWS: Final = np.arange(1 << 16)  # the rows of any burst are the first of these
_HEADER_LEN: Final = np.intp(ether.HEADER_LEN)
_TYPES_AT: Final = np.intp(ether.TYPES_AT)
_IPV4: Final = np.uint16(ether.ETHERTYPE_IPV4).byteswap()  # as it stands on the wire
_IPV6: Final = np.uint16(ether.ETHERTYPE_IPV6).byteswap()


@dataclasses.dataclass(slots=True)  # frozen would cost 1 us a burst
class Packets:
    """IP packets of one version in their frames, n of them."""

    rows: Index  # which frames of the burst
    at: Index  # where the IP header starts, octets of frame memory
    room: npt.NDArray[np.int64]  # octets from there to the end of the frame

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
    """
    if vlan == 0 and not np.count_nonzero(length < _HEADER_LEN):
        ethertype = memory.records(2)[at + _TYPES_AT].view("<u2")
        for which, number in enumerate((_IPV4, _IPV6)):
            if np.count_nonzero(ethertype == number) == len(at):
                packets = Packets(_ROWS[: len(at)], at + _HEADER_LEN, length - _HEADER_LEN)
                return (None, packets) if which else (packets, None)
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
