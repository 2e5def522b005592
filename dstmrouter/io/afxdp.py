"""AF_XDP sockets: a `Port` for one queue of one interface.

The kernel's side is in Linux Documentation/networking/af_xdp.rst.

All sockets of a worker share one UMEM: the first registers it, the others bind to theirs with
XDP_SHARED_UMEM and have their own four rings. So a frame received on one port is transmitted on
another without a copy. Shared sockets run in the mode of the first, which is why `open_sockets`
opens all of a worker together and falls back together.

Packets reach the socket when the steering program redirects to it: put it into the port's `XskMap`.
"""

from __future__ import annotations

import contextlib
import dataclasses
import errno
import socket
import struct
from contextlib import ExitStack
from typing import TYPE_CHECKING, Final, Self

from dstmrouter.errors import DstmError, SystemCallError, asking_kernel
from dstmrouter.io import uapi
from dstmrouter.io.owner import Owner
from dstmrouter.io.patience import while_busy
from dstmrouter.io.xskrings import XskRings
from dstmrouter.io.xsksetup import (
    BindTarget,
    XskConfig,
    XskMode,
    bind,
    make_rings,
    register_umem,
    set_options,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dstmrouter.io.umem import Umem

AUTO_ORDER: Final = (XskMode.NATIVE_ZEROCOPY, XskMode.NATIVE_COPY)

__all__ = ["XskConfig", "XskMode", "XskSocket", "open_sockets"]


class XskSocket(XskRings, Owner):
    """One queue of one interface; what the methods do to frames is said in `io.port.Port`.

    Frames that it still holds when it is closed stay in the UMEM, whose pool must not be used for
    them any more.
    """

    def __init__(
        self,
        target: BindTarget,
        umem: Umem,
        config: XskConfig,
        shared_with: XskSocket | None,
    ) -> None:
        """Open in the one mode that `config` names; see `open` for auto."""
        self.name = target.interface
        self.mode_taken = config.mode
        self.mode_notes: list[str] = []
        self._target = target
        self._umem = umem  # must stay mapped as long as the kernel writes to it
        self.busy_poll = config.busy_poll_us > 0
        self._wakeup_errors = 0
        with ExitStack() as undo:
            with asking_kernel(f"open an AF_XDP socket for {target}"):
                self._sock = undo.enter_context(socket.socket(uapi.AF_XDP, socket.SOCK_RAW))
            if shared_with is None:
                register_umem(self._sock, umem)
            super().__init__(make_rings(self._sock, config, undo))
            self._tx_batch = set_options(self._sock, config, umem)
            first = None if shared_with is None else shared_with._sock  # noqa: SLF001 same class
            while_busy(lambda: bind(self._sock, target, config.mode, first))
            self._undo = undo.pop_all()

    @classmethod
    def open(
        cls,
        interface: str,
        queue: int,
        umem: Umem,
        config: XskConfig,
        shared_with: XskSocket | None = None,
    ) -> Self:
        """Open a socket on a queue; `auto` takes zero-copy where the driver can, else copy.

        `shared_with` is a socket with the same UMEM, whose mode this one must have as well.
        """
        with asking_kernel(f"find interface {interface}"):
            target = BindTarget(interface, socket.if_nametoindex(interface), queue)
        modes: tuple[XskMode, ...] = AUTO_ORDER if config.mode is XskMode.AUTO else (config.mode,)
        if shared_with is not None:
            modes = tuple(m for m in modes if m.zero_copy is shared_with.mode_taken.zero_copy)
            if not modes:
                raise DstmError(
                    f"{target}: {config.mode} cannot share a UMEM with {shared_with.name}, "
                    f"which is {shared_with.mode_taken}"
                )
        notes: list[str] = []
        for mode in modes[:-1]:
            try:
                return cls(target, umem, dataclasses.replace(config, mode=mode), shared_with)
            except SystemCallError as error:
                notes.append(str(error))
        sock = cls(target, umem, dataclasses.replace(config, mode=modes[-1]), shared_with)
        sock.mode_notes = notes
        return sock

    def fileno(self) -> int:
        """Descriptor to poll(2), and to put into the port's `XskMap`."""
        return self._sock.fileno()

    def flush(self) -> None:
        """Wake the kernel where it asks for it; never blocks, never raises."""
        if self.busy_poll or self.rings.fill.needs_wakeup():
            with contextlib.suppress(OSError):  # the interface is down: nothing will come
                self._sock.recv(1, socket.MSG_DONTWAIT)
        tx = self.rings.tx
        waiting = len(tx)
        if waiting and (self.busy_poll or tx.needs_wakeup()):
            self._wake_sender(waiting)

    def _wake_sender(self, waiting: int) -> None:
        """Have `waiting` frames sent, as far as the kernel takes them now.

        In copy mode it stops with EAGAIN after a batch. Before Linux 6.17 it does not show progress
        on the ring until the last frame, so the number of calls is the bound.
        """
        for _ in range(waiting // self._tx_batch + 1):
            try:
                self._sock.send(b"", socket.MSG_DONTWAIT)
            except BlockingIOError:
                continue
            except OSError as error:  # frames stay on the ring, the next flush tries again
                self._wakeup_errors += 1
                if error.errno != errno.EBUSY:  # EBUSY: one frame was dropped behind us, go on
                    return
            else:
                return

    def use_compiled(self) -> None:
        """Nothing to do: rings move descriptors, not packets."""

    def statistics(self) -> dict[str, int]:
        """XDP_STATISTICS, and `wakeup_errors`: system calls to send that failed."""
        size = 8 * len(uapi.XDP_STATISTICS_FIELDS)
        with asking_kernel(f"read statistics of {self._target}"):
            answer = self._sock.getsockopt(uapi.SOL_XDP, uapi.XDP_STATISTICS, size)
        numbers = struct.unpack(f"={len(answer) // 8}Q", answer)  # old kernels know three
        counters = dict(zip(uapi.XDP_STATISTICS_FIELDS, numbers, strict=False))
        return counters | {"wakeup_errors": self._wakeup_errors}


def open_sockets(
    interfaces: Sequence[str], queue: int, umem: Umem, configs: Sequence[XskConfig]
) -> list[XskSocket]:
    """Open queue `queue` of all `interfaces` over one UMEM, zero-copy if all of them can.

    Entries of `configs` belong to `interfaces`. What kept `auto` from zero-copy is in the
    `mode_notes` of the first socket.
    """
    fixed = {config.mode.zero_copy for config in configs if config.mode is not XskMode.AUTO}
    autos = [mode for mode in AUTO_ORDER if not fixed or mode.zero_copy in fixed]
    wanted = list(zip(interfaces, configs, strict=True))
    notes: list[str] = []
    for auto in autos[:-1]:
        try:
            return _open_all(_with_auto(wanted, auto), queue, umem)
        except SystemCallError as error:
            notes.append(str(error))
    sockets = _open_all(_with_auto(wanted, autos[-1]), queue, umem)
    sockets[0].mode_notes += notes
    return sockets


def _with_auto(wanted: list[tuple[str, XskConfig]], mode: XskMode) -> list[tuple[str, XskConfig]]:
    """The same with `mode` in the place of auto."""
    return [
        (interface, dataclasses.replace(c, mode=mode) if c.mode is XskMode.AUTO else c)
        for interface, c in wanted
    ]


def _open_all(wanted: list[tuple[str, XskConfig]], queue: int, umem: Umem) -> list[XskSocket]:
    """Open all or none."""
    sockets: list[XskSocket] = []
    with ExitStack() as undo:
        for interface, config in wanted:
            first = sockets[0] if sockets else None
            sock = XskSocket.open(interface, queue, umem, config, first)
            sockets.append(undo.enter_context(sock))
        undo.pop_all()
    return sockets
