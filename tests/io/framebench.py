"""A port that sends XDP frames, and the far end that takes and hears them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from dstmrouter.io.afxdp import XskConfig, XskMode, open_sockets
from dstmrouter.io.umem import DESC
from dstmrouter.io.xdpframes import FrameSender, PacketArray
from dstmrouter.io.xdpport import Pacing, XdpFramePort
from tests.io.conftest import Veth, wait_for

if TYPE_CHECKING:
    from contextlib import ExitStack

FRAMES = 512
AT_ONCE = Pacing(spacing_s=0)
ENOUGH = AT_ONCE.enough
CONFIG = XskConfig(
    mode=XskMode.NATIVE_COPY, fill_slots=64, rx_slots=64, tx_slots=128, completion_slots=128
)
HEADER = bytes(12) + b"\x88\xb5"


class Bench:
    """Port a, whose far end takes XDP frames and listens."""

    def __init__(
        self, pair: Veth, undo: ExitStack, pacing: Pacing = AT_ONCE, *, chunk_size: int = 2048
    ) -> None:
        self.pair = pair
        pair.take_frames()
        packets = PacketArray(FRAMES, chunk_size)
        undo.callback(packets.close)
        self.umem = packets.umem
        self.sender = undo.enter_context(
            FrameSender(packets, 1, CONFIG.tx_slots, 2 * CONFIG.completion_slots)
        )
        (sock,) = open_sockets([pair.near], 0, self.umem, [CONFIG])
        undo.callback(sock.close)
        self.port = XdpFramePort(sock, self.sender, 0, pacing)
        undo.callback(self.port.close)
        self.tap = undo.enter_context(pair.tap())
        self.number = 0

    def transmit(self, count: int, length: int = 60) -> list[bytes]:
        """Hand over packets with increasing numbers."""
        descs = np.zeros(count, DESC)
        descs["addr"], descs["len"] = self.umem.pool.take(count) + np.uint64(300), length
        sent = []
        for start in descs["addr"].tolist():
            frame = (HEADER + self.number.to_bytes(4, "big")).ljust(length, b"x")
            self.umem.octets[start : start + length] = np.frombuffer(frame, np.uint8)
            sent.append(frame)
            self.number += 1
        assert self.port.transmit(descs) == count
        self.check_ledger()
        return sent

    def check_ledger(self) -> None:
        assert len(self.umem.pool) + self.port.held().total == FRAMES

    def reclaim(self) -> None:
        """Take back everything that has been sent; the kernel may still be at it."""

        def all_back() -> bool:
            self.port.flush()
            self.check_ledger()
            self.umem.pool.give(self.port.reclaim())
            return len(self.umem.pool) == FRAMES

        wait_for(all_back, "all frames")

    def as_frames(self) -> int:
        return self.port.statistics()["xdp_frames_sent"]


class Opener:
    """Opens benches of one way to flush."""

    def __init__(self, pair: Veth, undo: ExitStack, *, compiled: bool) -> None:
        self.compiled = compiled
        self._pair, self._undo = pair, undo

    def open(self, pacing: Pacing = AT_ONCE) -> Bench:
        """The only one of a test."""
        bench = Bench(self._pair, self._undo, pacing)
        if self.compiled:
            bench.port.use_compiled()
        return bench
