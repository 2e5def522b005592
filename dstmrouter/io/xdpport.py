"""An AF_XDP socket that sends most of its packets as XDP frames.

Where the driver takes XDP frames and the socket would copy, `FrameSender` is three to five times
cheaper a packet, once there are enough of them to pay for the call. What comes alone, and all of it
while the device takes none, goes through the socket. Packets leave in the order of `transmit`.
"""

from __future__ import annotations

import contextlib
import errno
import socket
import time
from contextlib import ExitStack
from typing import TYPE_CHECKING, Final

from dstmrouter.errors import SystemCallError, asking_kernel
from dstmrouter.io.owner import Owner
from dstmrouter.io.ring import U32_MASK
from dstmrouter.io.xdpfeatures import XdpFeature, XdpFeatures
from dstmrouter.io.xskrings import Rings, XskRings

if TYPE_CHECKING:
    from dstmrouter.io.afxdp import XskSocket
    from dstmrouter.io.xdpframes import FrameSender

ENOUGH: Final = 64  # packets: a call takes 15 us and saves 0.7 for each
# At 25,000 calls a second, what RCU has to free after them stops this CPU for 1 ms twenty times a
# second. So packets wait for others until so much time has passed since the last call, or there
# are so many; at a rate that a socket can carry there are never enough, and nothing waits.
SPACING_S: Final = 80e-6
LOTS: Final = 256
LOOK_S: Final = 0.5  # whether the device still takes frames


class XdpFramePort(XskRings, Owner):
    """A `Port`: what it receives is the socket's, and its frames are those of one `PacketArray`."""

    sends: Final = "xdp-frames"

    def __init__(self, sock: XskSocket, sender: FrameSender, number: int) -> None:
        """Take over `sock` and line `number` of `sender`; raises SystemCallError."""
        self.name, self.mode_taken, self.mode_notes = sock.name, sock.mode_taken, sock.mode_notes
        self._sock, self._sender, self._number = sock, sender, number
        self._sent, self._errors, self._in_socket = 0, 0, 0
        self._look_at, self._takes = 0.0, False
        self._held, self._next_call = 0, 0.0
        self._polls = sock.busy_poll
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
        waiting = len(self._unsent)
        if waiting and not self._holds(waiting):
            self._held = 0
            if not (waiting >= ENOUGH and self._send_frames(waiting)):
                self._send_by_socket(waiting)
        if self._in_socket or self._polls or self.rings.fill.needs_wakeup():
            self._sock.flush()
        if self._in_socket:
            sent = self._sock.rings.completion.take(self._done.room())
            self._in_socket -= self._done.submit(sent)

    def use_compiled(self) -> None:
        """Nothing to do: rings move descriptors, not packets."""

    def statistics(self) -> dict[str, int]:
        """Those of the socket, and what became of packets as XDP frames."""
        own = {
            "xdp_frames_sent": self._sent,
            "xdp_frames_refused": self._sender.refused(self._number),
            "xdp_frames_errors": self._errors,
        }
        return self._sock.statistics() | own

    def _holds(self, waiting: int) -> bool:
        """Whether packets are to wait for those that keep coming, so that calls are fewer."""
        more, self._held = waiting > self._held, waiting
        return more and waiting < LOTS and time.monotonic() < self._next_call

    def _may_send_frames(self) -> bool:
        """Whether the device takes frames, and none would overtake what the socket has."""
        if self._in_socket and len(self._sock.rings.tx):
            return False
        now = time.monotonic()
        if now >= self._look_at:
            self._look_at = now + LOOK_S
            self._takes = False
            with contextlib.suppress(SystemCallError):
                self._takes = bool(self._features.of(self._ifindex) & XdpFeature.NDO_XMIT)
        return self._takes

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
            self._sender.send(self._number, self._ifindex, count)
            self._next_call = time.monotonic() + SPACING_S
        except SystemCallError as error:  # what was not taken waits for the next flush
            if error.errno != errno.EINTR:
                self._errors += 1
                self._takes = False  # until we look again
        self._sent += (self._unsent.consumed - before) & U32_MASK
        return True

    def _send_by_socket(self, waiting: int) -> None:
        ring = self._sock.rings.tx
        self._in_socket += ring.submit(self._unsent.take(min(waiting, ring.room())))
