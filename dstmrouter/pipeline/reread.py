"""Frames read a second time, by the steps for rare packets: as they arrived, whatever was decided.

Only for frames whose headers have been found in order.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from dstmrouter.pipeline import inner
from dstmrouter.pipeline.inner import Inner
from dstmrouter.pipeline.link import Packets, split
from dstmrouter.wire import ipv4

if TYPE_CHECKING:
    from dstmrouter.pipeline.memory import FrameMemory, Index
    from dstmrouter.pipeline.outer import Outer, OuterReader
    from dstmrouter.pipeline.rare import Arrivals


class Rereader:
    """Reads frames; `vlans` are the tags of the ports, a list that its owner keeps up to date."""

    def __init__(self, memory: FrameMemory, outer: OuterReader, vlans: list[int]) -> None:
        self.memory = memory
        self._outer = outer
        self._vlans = vlans

    def split(self, arrivals: Arrivals) -> tuple[Packets | None, Packets | None]:
        """The IPv4 and the IPv6 packets; their `rows` are positions in `arrivals`."""
        unused = np.zeros(len(arrivals.rows), np.uint8)
        vlan = self._vlans[arrivals.port]
        return split(self.memory, arrivals.at, arrivals.length, vlan, unused)

    def outer(self, packets: Packets) -> Outer:
        """The IPv6 headers of packets, and where they end."""
        outer, _ = self._outer.read(packets)
        return outer

    def inner(self, at: Index) -> Inner:
        """The IPv4 packets at `at`."""
        header = self.memory.read(at, ipv4.PACKET)
        total_len = header["total_len"].astype(np.int64)
        packets = Inner(at, header, total_len, header["dst"].astype(np.uint32))
        inner.read_ports(self.memory, packets)
        return packets
