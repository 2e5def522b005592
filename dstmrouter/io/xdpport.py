"""An AF_XDP socket that sends most of its packets as XDP frames.

Where the driver takes XDP frames and the socket would copy, `FrameSender` is three to five times
cheaper a packet, once there are enough of them to pay for the call. What comes alone, and all of it
while the device takes none, goes through the socket. Packets leave in the order of `transmit`.
"""

from __future__ import annotations

import contextlib
import dataclasses
import errno
import socket
import time
from contextlib import ExitStack
from typing import TYPE_CHECKING, Final

import numpy as np

from dstmrouter.errors import SystemCallError, asking_kernel
from dstmrouter.io.owner import Owner
from dstmrouter.io.ring import U32_MASK
from dstmrouter.io.xdpfeatures import XdpFeature, XdpFeatures
from dstmrouter.io.xskrings import Rings, XskRings

if TYPE_CHECKING:
    from dstmrouter.io.afxdp import XskSocket
    from dstmrouter.io.compiled.xdpframes import CompiledFlush
    from dstmrouter.io.xdpframes import FrameSender

_NS: Final = 1e9
STATE: Final = np.dtype(
    [
        (name, "<u8")
        for name in (
            "held",  # packets that waited when the last flush let them
            "in_vain",  # flushes since then that let them wait, and no more had come
            "next_call",  # time, ns
            "look_at",  # time, ns: whether the device still takes frames
            "takes",  # whether it did
            "in_socket",  # packets that the socket has
            "sent",  # packets sent as frames
            "errors",  # calls that failed
            "calls",  # since a page pool was kept
        )
    ]
)
"""What `flush` goes by, for the compiled way (`io.compiled.xdpframes`) and the other."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Pacing:
    """When packets are sent as frames.

    Each call leaves objects (on Linux 6.18 one of its page pool and, unless a pool is kept, two or
    three inner nodes of the tree of all pools), which RCU frees 8 to 12 ms later, with all others
    of that time: with four of them, 20,000 calls a second, that takes this CPU for 0.2 ms. So
    packets wait for others until so much time has passed since the last call began, or there are
    so many, or no more come. (At 1.3 Mpps and with calls 65, 80, 90 and 100 us apart, p99 of the
    latency was 150, 145, 138 and 185 us, p50 54, 64, 68 and 80.)
    """

    enough: int = 48  # packets: a call takes 15 us and saves 0.7 for each
    spacing_s: float = 80e-6
    patience: int = 4  # flushes in a row without more packets: 10 us; then they wait no longer
    lots: int = 128  # with 256, a twentieth of a busy worker's time goes by looking for more
    look_s: float = 0.5  # whether the device still takes frames
    keep_every: int = 32  # calls: `FrameSender.keep_pool`, which takes as long as one

    @property
    def spacing_ns(self) -> int:
        """`spacing_s` in nanoseconds."""
        return round(self.spacing_s * _NS)

    @property
    def look_ns(self) -> int:
        """`look_s` in nanoseconds."""
        return round(self.look_s * _NS)


class XdpFramePort(XskRings, Owner):
    """A `Port`: what it receives is the socket's, and its frames are those of one `PacketArray`."""

    sends: Final = "xdp-frames"

    def __init__(
        self, sock: XskSocket, sender: FrameSender, number: int, pacing: Pacing | None = None
    ) -> None:
        """Take over `sock` and line `number` of `sender`; raises SystemCallError."""
        self.name, self.mode_taken, self.mode_notes = sock.name, sock.mode_taken, sock.mode_notes
        self._sock, self._sender, self._number = sock, sender, number
        self._pacing = pacing or Pacing()
        self._state = np.zeros(1, STATE)
        self._held, self._in_vain, self._next_call, self._look_at, self._takes, *counts = (
            self._state[name].data for name in STATE.names or ()
        )
        self._in_socket, self._sent, self._errors, self._calls = counts
        self._polls = sock.busy_poll
        self._compiled: CompiledFlush | None = None
        with ExitStack() as undo:
            with asking_kernel(f"find interface {sock.name}"):
                self._ifindex = socket.if_nametoindex(sock.name)
            self._features = undo.enter_context(XdpFeatures())
            tx, self._unsent = sender.tx(number)
            self._done, completion = sender.done(number)
            for ring in (tx, self._unsent, self._done, completion):
                undo.callback(ring.close)
            rx, _, fill, _ = sock.rings
            super().__init__(Rings(rx=rx, tx=tx, fill=fill, completion=completion))
            undo.callback(sock.close)
            self._undo = undo.pop_all()

    def fileno(self) -> int:
        """Descriptor to poll(2)."""
        return self._sock.fileno()

    def flush(self) -> None:
        """Send what waits, and wake the kernel where it asks for it; never blocks or raises."""
        if self._compiled is not None and self._compiled():
            return
        if self._calls[0] >= self._pacing.keep_every:
            self._keep_pool()
        waiting = len(self._unsent)
        if waiting and not self._holds(waiting):
            self._held[0] = 0
            if not (waiting >= self._pacing.enough and self._send_frames(waiting)):
                self._send_by_socket(waiting)
        in_socket = self._in_socket[0]
        if in_socket or self._polls or self.rings.fill.needs_wakeup():
            self._sock.flush()
        if in_socket:
            sent = self._sock.rings.completion.take(self._done.room())
            self._in_socket[0] -= self._done.submit(sent)

    def use_compiled(self) -> None:
        """Send frames in compiled code from now on, where nothing else is to be done."""
        if self._polls or not self._sender.fits_all:
            return
        from dstmrouter.io.compiled.xdpframes import CompiledFlush  # imports Numba

        place = self._sender.place(self._number)
        rings = self.rings.tx, self._done, self.rings.fill
        compiled = CompiledFlush(place, rings, self._state, self._pacing, self._ifindex)
        self._compiled, self.flush_place = compiled, compiled.place

    def statistics(self) -> dict[str, int]:
        """Those of the socket, and what became of packets as XDP frames."""
        own = {
            "xdp_frames_sent": self._sent[0],
            "xdp_frames_refused": self._sender.refused(self._number),
            "xdp_frames_errors": self._errors[0],
        }
        return self._sock.statistics() | own

    def _holds(self, waiting: int) -> bool:
        """Whether packets are to wait for those that keep coming, so that calls are fewer."""
        self._in_vain[0] = 0 if waiting > self._held[0] else self._in_vain[0] + 1
        self._held[0] = waiting
        return (
            self._in_vain[0] < self._pacing.patience
            and waiting < self._pacing.lots
            and time.monotonic_ns() < self._next_call[0]
        )

    def _may_send_frames(self) -> bool:
        """Whether the device takes frames, and none would overtake what the socket has."""
        if self._in_socket[0] and len(self._sock.rings.tx):
            return False
        now = time.monotonic_ns()
        if now >= self._look_at[0]:
            self._look_at[0] = now + self._pacing.look_ns
            self._takes[0] = 0
            with contextlib.suppress(SystemCallError):
                takes = self._features.of(self._ifindex) & XdpFeature.NDO_XMIT
                self._takes[0] = int(bool(takes))
        return bool(self._takes[0])

    def _send_frames(self, waiting: int) -> bool:
        """Send as frames; False, and nothing is sent, if that cannot be."""
        if not self._may_send_frames():
            return False
        count = min(waiting, self._done.room())
        if not self._sender.fits_all:
            lengths = self._unsent.peek(count)["len"]
            if lengths.max(initial=0) > self._sender.longest:
                return False
        before = self._unsent.consumed
        try:
            self._calls[0] += 1
            self._next_call[0] = time.monotonic_ns() + self._pacing.spacing_ns
            self._sender.send(self._number, self._ifindex, count)
        except SystemCallError as error:  # what was not taken waits for the next flush
            if error.errno != errno.EINTR:
                self._errors[0] += 1
                self._takes[0] = 0  # until we look again
        self._sent[0] += (self._unsent.consumed - before) & U32_MASK
        return True

    def _keep_pool(self) -> None:
        self._calls[0] = 0
        with contextlib.suppress(SystemCallError):  # it only saves time
            self._sender.keep_pool()

    def _send_by_socket(self, waiting: int) -> None:
        ring = self._sock.rings.tx
        self._in_socket[0] += ring.submit(self._unsent.take(min(waiting, ring.room())))
