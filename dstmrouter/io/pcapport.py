"""A port that receives what a capture file holds and writes what is sent to another."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

from dstmrouter.io.capturefile import CaptureWriter, read_packets
from dstmrouter.io.memport import MemoryPort

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from dstmrouter.io.umem import Descs, Umem


class PcapPort(MemoryPort):
    """A `Port` over files: pcap or pcapng to `read`, pcap to `write`; either may be None.

    Packets longer than a frame are counted (`too_long`) and left out. A bad file is a DstmError, at
    once for one that cannot be written, in `receive` for one that cannot be read.
    """

    def __init__(self, umem: Umem, name: str, *, read: Path | None, write: Path | None) -> None:
        super().__init__(umem, name, record=write is not None)
        self._packets: Iterator[bytes] = iter(()) if read is None else read_packets(read)
        self._writer = None if write is None else CaptureWriter(write)
        self._ended = False

    @property
    def exhausted(self) -> bool:
        """Whether every packet of the file has been received."""
        return self._ended and self.waiting == 0

    def receive(self, limit: int) -> Descs:
        """Take up to `limit` packets, as many as there are frames for."""
        wanted = min(limit, len(self._fill)) - self.waiting
        if wanted > 0 and not self._ended:
            packets = list(itertools.islice(self._packets, wanted))
            self._ended = len(packets) < wanted
            self.feed(packets)
        return super().receive(limit)

    def transmit(self, descs: Descs) -> int:
        """Write as many of `descs` as fit; the rest stays the caller's."""
        n = super().transmit(descs)
        if self._writer is not None:
            for packet in self.take_sent():
                self._writer.write(packet)
        return n

    def close(self) -> None:
        """Close both files; harmless when repeated."""
        self._packets = iter(())
        self._ended = True
        if self._writer is not None:
            self._writer.close()
