"""Live frames: frames that the kernel makes and lets an XDP program have, with real effects.

BPF_PROG_TEST_RUN with BPF_F_TEST_XDP_LIVE_FRAMES (Linux 5.18: Documentation/bpf/bpf_prog_run.rst).
A program that redirects them sends them, past socket buffers and queueing disciplines.

What a call costs besides its frames, on Linux 6.18: 15 us, but 20 ms if the program runs as native
XDP nowhere. The kernel then makes it known to its dispatcher of XDP programs for the time of the
call, and waits twice until no CPU uses the former dispatcher (`KnownProgram` spares that).
"""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import os
import socket
import struct
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

from dstmrouter.errors import SystemCallError, asking_kernel
from dstmrouter.io.bpf import address_of, bpf_call
from dstmrouter.io.owner import Owner
from dstmrouter.io.steering import XdpMode, attach_xdp
from dstmrouter.io.uapi import BPF_F_TEST_XDP_LIVE_FRAMES, BpfCommand

if TYPE_CHECKING:
    from dstmrouter.io.bpf import Program

# Octets: a page less headroom, the kernel's own record, and the tail that it keeps free, which is
# longest where it was built with MAX_SKB_FRAGS = 45. Tried: 3,408 on a kernel with 17.
LIVE_FRAME_MAX: Final = 2816
_RUN: Final = struct.Struct(  # union bpf_attr, test: fd, length, data, repeat, context length,
    "=i4xI4xQ8xI4xI4xQ8xI4xI"  # context, flags, batch
)
_COUNT_AT: Final = 32  # octets from its start: repeat
_XDP_MD: Final = struct.Struct("=IIIIII")  # data, its end, metadata, interface, queue, egress
_COUNT: Final = struct.Struct("=I")

# linux/if_tun.h, linux/if.h, linux/sockios.h
_IFF_UP: Final = 0x1
_SIOCSIFFLAGS: Final = 0x8914
_TUNSETIFF: Final = 0x400454CA
_IFF_TAP, _IFF_NO_PI = 0x0002, 0x1000
_NAME_LEN: Final = 16
_IFREQ: Final = struct.Struct("16sH22x")


class RunPlace(NamedTuple):
    """The attributes of the system call in memory, for compiled code."""

    attributes: int  # address
    length: int  # octets
    count_at: int  # address of the number of frames, 32 bits


class LiveRun:
    """A program and what its frames are when they are new: `run` lets it have some."""

    def __init__(self, program: Program, frame: bytes, *, ifindex: int = 0, batch: int = 0) -> None:
        """The frames seem to come from `ifindex`, `batch` at a time (at most 256; 0 for 64).

        The kernel uses a frame's memory again as the last traveller left it.
        """
        self._program = program
        self._frame = ctypes.create_string_buffer(frame, len(frame))
        context = _XDP_MD.pack(0, len(frame), 0, ifindex, 0, 0)
        self._context = ctypes.create_string_buffer(context, len(context))
        attributes = _RUN.pack(
            program.fileno(),
            len(frame),
            address_of(self._frame),
            0,
            len(context),
            address_of(self._context),
            BPF_F_TEST_XDP_LIVE_FRAMES,
            batch,
        )
        self._attributes = ctypes.create_string_buffer(attributes, len(attributes))
        self._call = bpf_call(BpfCommand.PROG_TEST_RUN, self._attributes)

    def place(self) -> RunPlace:
        """Where compiled code finds what `run` gives to the kernel, as long as this is there."""
        at = address_of(self._attributes)
        return RunPlace(at, len(self._attributes), at + _COUNT_AT)

    def run(self, count: int) -> None:
        """Let `count` frames go through the program; raises SystemCallError.

        After a signal (EINTR) it is not known how many have; programs count for themselves.
        """
        _COUNT.pack_into(self._attributes, _COUNT_AT, count)
        number = self._call()
        if number:
            raise SystemCallError("send live frames", number, os.strerror(number))


class KnownProgram(Owner):
    """Keeps the kernel's dispatcher aware of a program, by a device that leads nowhere.

    The device, `NAME0` or the next free number, is a TAP, up and without IPv6: frames may be sent
    there, until `discard`. It goes when this is closed, and with this process.
    Raises SystemCallError, too if there is no /dev/net/tun.
    """

    def __init__(self, program: Program, name: str) -> None:
        with ExitStack() as undo:
            with asking_kernel(f"create TAP device {name}%d"):
                fd = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
                undo.callback(os.close, fd)
                wanted = _IFREQ.pack(f"{name}%d".encode(), _IFF_TAP | _IFF_NO_PI)
                made = fcntl.ioctl(fd, _TUNSETIFF, wanted)
                self.name = made[:_NAME_LEN].rstrip(b"\0").decode()
                self.ifindex = socket.if_nametoindex(self.name)
            undo.enter_context(attach_xdp(self.ifindex, program, XdpMode.NATIVE))
            self._set_up()
            self._fd = fd
            self._undo = undo.pop_all()

    def discard(self) -> None:
        """Free frames that were sent to the device, 16 at most."""
        with contextlib.suppress(OSError):  # EAGAIN: no more
            for _ in range(16):
                os.read(self._fd, 1)

    def _set_up(self) -> None:
        with contextlib.suppress(OSError):  # a kernel without IPv6; what it sends is discarded
            Path(f"/proc/sys/net/ipv6/conf/{self.name}/disable_ipv6").write_text("1")
        with (
            asking_kernel(f"set TAP device {self.name} up"),
            socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock,
        ):
            fcntl.ioctl(sock, _SIOCSIFFLAGS, _IFREQ.pack(self.name.encode(), _IFF_UP))
