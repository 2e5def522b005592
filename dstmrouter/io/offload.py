"""Undo, in received packets, what the kernel and its devices do to spare themselves work.

A device takes the 802.1Q tag out of a frame and reports it beside the frame; a local sender (the
other end of a veth pair, a virtual machine) leaves the transport checksum to a device that never
comes. Neither may reach the far side of the router, so the frame gets the form that it has on a
wire.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from dstmrouter.io.records import records_at_every_octet
from dstmrouter.io.uapi_packet import TP_STATUS_VLAN_TPID_VALID, VNET_HDR
from dstmrouter.wire.ether import ETHERTYPE_VLAN

if TYPE_CHECKING:
    import numpy.typing as npt

    from dstmrouter.io.records import Memory, Offsets

TAG_LEN: Final = 4  # octets: TPID and TCI
_ADDRESSES_LEN: Final = 12  # octets: destination and source MAC address, before the tag
_TAG: Final = np.dtype([("tpid", ">u2"), ("tci", ">u2")])


class TagWriter:
    """Puts 802.1Q tags into frames that lie in one memory."""

    def __init__(self, memory: Memory) -> None:
        self._addresses = records_at_every_octet(memory, _ADDRESSES_LEN)
        self._tags = records_at_every_octet(memory, TAG_LEN)

    def insert(self, starts: Offsets, headers: npt.NDArray[np.void]) -> None:
        """Insert the tags that `headers` (dtype PACKET) report.

        The frame for `starts[i]` lies TAG_LEN octets behind it, and afterwards begins there.
        """
        tags = np.empty(len(starts), _TAG)
        reported = headers["status"] & TP_STATUS_VLAN_TPID_VALID != 0
        tags["tpid"] = np.where(reported, headers["vlan_tpid"], ETHERTYPE_VLAN)
        tags["tci"] = headers["vlan_tci"]
        self._addresses[starts] = self._addresses[starts + TAG_LEN]
        self._tags[starts + _ADDRESSES_LEN] = tags.view("V4")

    def close(self) -> None:
        """Drop the views of the memory."""
        self._addresses = self._tags = np.empty(0, "V1")


def finish_checksum(memory: memoryview, start: int, end: int, vnet: bytes) -> bool:
    """Finish the transport checksum of the frame at `start` to `end`, as `vnet` tells.

    `vnet` is the packet's virtio_net_hdr. The checksum field holds the sum of the pseudo-header
    (RFC 1071 section 2, "partial"). Return False, with the frame as it was, if the field would lie
    outside of the frame.
    """
    *_, covered_from, field = VNET_HDR.unpack(vnet)
    covered = start + covered_from
    at = covered + field
    if at + 2 > end:
        return False
    octets = bytes(memory[covered:end])
    total = int.from_bytes(octets + bytes(len(octets) % 2), "big")
    # A one's complement sum is the remainder by 65535; zero is sent as 0xFFFF, which TCP takes as
    # the same and UDP needs (RFC 768).
    memory[at : at + 2] = (0xFFFF - total % 0xFFFF).to_bytes(2, "big")
    return True
