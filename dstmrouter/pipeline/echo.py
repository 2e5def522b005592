"""Answering a client's ping to tep4, the address that clients use for keepalives (R15).

The answer is the request with source and destination exchanged, type 0 and a fresh TTL. The ICMP
checksum is updated, not computed: a request that was damaged on its way comes back with a checksum
that is still wrong, and the client sees it.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Final

import numpy as np

from dstmrouter.pipeline import inner
from dstmrouter.wire import checksum, ipv4

if TYPE_CHECKING:
    from dstmrouter.pipeline.decide import Mask
    from dstmrouter.pipeline.inner import Inner
    from dstmrouter.pipeline.memory import FrameMemory

ICMP: Final = np.dtype([("type", "u1"), ("code", "u1"), ("checksum", ">u2")])  # RFC 792
TTL: Final = 64
_MIN_LEN: Final = ipv4.HEADER_LEN + 8
_TYPE_CHANGE: Final = np.int64((ipv4.ICMP_ECHO_REQUEST - ipv4.ICMP_ECHO_REPLY) << 8)


def requests(memory: FrameMemory, packets: Inner) -> Mask:
    """Which of the packets are whole echo requests without IP options; shape (n,)."""
    header = packets.header
    icmp = memory.read(packets.at + ipv4.HEADER_LEN, ICMP)
    mask: Mask = (
        (header["protocol"] == ipv4.PROTOCOL_ICMP)
        & (header["version_ihl"] == ipv4.VERSION_IHL)
        & (header["fragment"] & ipv4.FRAGMENT_BITS == 0)
        & (packets.total_len >= _MIN_LEN)
        & (icmp["type"] == ipv4.ICMP_ECHO_REQUEST)
        & (icmp["code"] == 0)
    )
    return mask


def answer(memory: FrameMemory, packets: Inner) -> Inner:
    """Turn echo requests into their answers: the ICMP header in memory, the IPv4 one in columns."""
    icmp_at = packets.at + ipv4.HEADER_LEN
    icmp = memory.read(icmp_at, ICMP)
    icmp["type"] = ipv4.ICMP_ECHO_REPLY
    updated = checksum.updated(icmp["checksum"].astype(np.int64), _TYPE_CHANGE)
    # Both zeros mean the same, save for an answer of nothing but zeros: there 0 would be wrong.
    icmp["checksum"] = np.where(updated == 0, 0xFFFF, updated)
    memory.write(icmp_at, icmp)
    header, asker = packets.header, packets.src
    header["src"], header["dst"] = packets.dst, asker
    inner.set_ttl(packets, TTL)
    return dataclasses.replace(packets, dst=asker)
