"""Making an AF_XDP socket: configuration, and the system calls before the first packet.

Each step says in its errors what was tried on what, and what the kernel answered.
"""

from __future__ import annotations

import contextlib
import ctypes
import dataclasses
import enum
import mmap
import os
import socket
from typing import TYPE_CHECKING, Final, NamedTuple, TypeVar

import numpy as np

from dstmrouter.errors import ConfigError, SystemCallError, asking_kernel
from dstmrouter.io import uapi
from dstmrouter.io.ring import ConsumerRing, ProducerRing, RingOffsets
from dstmrouter.io.umem import DESC
from dstmrouter.io.xskrings import Rings

if TYPE_CHECKING:
    from contextlib import ExitStack

    import numpy.typing as npt

    from dstmrouter.io.umem import Umem

SKB_OVERHEAD: Final = 1024  # octets of send buffer a copied frame costs beyond itself
DEFAULT_TX_BATCH: Final = 32  # TX_BATCH_SIZE of net/xdp/xsk.c: frames a wake-up sends in copy mode

_libc = ctypes.CDLL(None, use_errno=True)


class XskMode(enum.StrEnum):
    """How packets come into the UMEM. Generic differs from copy in the XDP program's place only."""

    AUTO = "auto"
    NATIVE_ZEROCOPY = "native-zerocopy"
    NATIVE_COPY = "native-copy"
    GENERIC = "generic"

    @property
    def zero_copy(self) -> bool:
        """Whether the driver works on the UMEM directly."""
        return self is XskMode.NATIVE_ZEROCOPY


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class XskConfig:
    """One socket. Ring sizes are numbers of entries."""

    mode: XskMode = XskMode.AUTO
    fill_slots: int = 4096
    rx_slots: int = 4096
    tx_slots: int = 2048
    completion_slots: int = 4096
    busy_poll_us: int = 0  # time to poll the driver in a system call; 0 leaves it to interrupts
    busy_poll_budget: int = 64  # packets a busy poll handles at most

    def __post_init__(self) -> None:
        for name in ("fill_slots", "rx_slots", "tx_slots", "completion_slots"):
            slots = getattr(self, name)
            if slots <= 0 or slots & (slots - 1):
                raise ConfigError(f"{name} must be a power of two, not {slots}")
        if self.busy_poll_us < 0:
            raise ConfigError(f"busy_poll_us must be 0 or more, not {self.busy_poll_us}")
        if not 1 <= self.busy_poll_budget <= 0xFFFF:
            raise ConfigError(f"busy_poll_budget must be 1 to 65535, not {self.busy_poll_budget}")


def register_umem(sock: socket.socket, umem: Umem) -> None:
    """Make `umem` the memory of this socket's packets; the kernel pins it."""
    size = len(umem.octets)
    argument = uapi.XDP_UMEM_REG_ARG.pack(umem.octets.ctypes.data, size, umem.chunk_size, 0, 0)
    tried = f"register a UMEM of {umem.frames} frames, {size >> 10} KiB (limit: ulimit -l)"
    with asking_kernel(tried):
        sock.setsockopt(uapi.SOL_XDP, uapi.XDP_UMEM_REG, argument)


def make_rings(sock: socket.socket, config: XskConfig, undo: ExitStack) -> Rings:
    """Create the rings and map them; `undo` gets their closing."""
    maker = _RingMaker(sock, undo)
    return Rings(
        rx=maker.make(ConsumerRing, _RX, config.rx_slots),
        tx=maker.make(ProducerRing, _TX, config.tx_slots),
        fill=maker.make(ProducerRing, _FILL, config.fill_slots),
        completion=maker.make(ConsumerRing, _COMPLETION, config.completion_slots),
    )


class _RingSpec(NamedTuple):
    name: str
    offsets: int  # place in struct xdp_mmap_offsets
    option: int  # of setsockopt, takes the number of entries
    page_offset: int  # of mmap
    entry: npt.DTypeLike


_RX: Final = _RingSpec("RX", 0, uapi.XDP_RX_RING, uapi.XDP_PGOFF_RX_RING, DESC)
_TX: Final = _RingSpec("TX", 1, uapi.XDP_TX_RING, uapi.XDP_PGOFF_TX_RING, DESC)
_FILL: Final = _RingSpec(
    "fill", 2, uapi.XDP_UMEM_FILL_RING, uapi.XDP_UMEM_PGOFF_FILL_RING, np.uint64
)
_COMPLETION: Final = _RingSpec(
    "completion",
    3,
    uapi.XDP_UMEM_COMPLETION_RING,
    uapi.XDP_UMEM_PGOFF_COMPLETION_RING,
    np.uint64,
)

AnyRing = TypeVar("AnyRing", ProducerRing, ConsumerRing)


class _RingMaker:
    def __init__(self, sock: socket.socket, undo: ExitStack) -> None:
        self._sock = sock
        self._undo = undo
        size = 4 * uapi.XDP_RING_OFFSET.size
        with asking_kernel("read AF_XDP ring offsets"):
            answer = sock.getsockopt(uapi.SOL_XDP, uapi.XDP_MMAP_OFFSETS, size)
        self._offsets = [RingOffsets(*o) for o in uapi.XDP_RING_OFFSET.iter_unpack(answer)]

    def make(self, kind: type[AnyRing], spec: _RingSpec, slots: int) -> AnyRing:
        at = self._offsets[spec.offsets]
        length = at.entries + slots * np.dtype(spec.entry).itemsize
        flags = mmap.MAP_SHARED | mmap.MAP_POPULATE
        with asking_kernel(f"make an AF_XDP {spec.name} ring of {slots} entries"):
            self._sock.setsockopt(uapi.SOL_XDP, spec.option, slots)
            memory = mmap.mmap(self._sock.fileno(), length, flags=flags, offset=spec.page_offset)
        ring = kind(memory, at, slots, spec.entry)
        self._undo.callback(ring.close)
        return ring


def set_options(sock: socket.socket, config: XskConfig, umem: Umem) -> int:
    """Set what makes sending and polling cheaper; return how many frames a wake-up sends."""
    if config.busy_poll_us:
        with asking_kernel(f"busy polling of {config.busy_poll_us} us"):
            sock.setsockopt(socket.SOL_SOCKET, uapi.SO_PREFER_BUSY_POLL, 1)
            sock.setsockopt(socket.SOL_SOCKET, uapi.SO_BUSY_POLL, config.busy_poll_us)
            sock.setsockopt(socket.SOL_SOCKET, uapi.SO_BUSY_POLL_BUDGET, config.busy_poll_budget)
    # In copy mode each frame on its way costs send buffer; the default holds about 100 of them.
    send_buffer = config.tx_slots * (umem.chunk_size + SKB_OVERHEAD)
    with contextlib.suppress(PermissionError):  # it only gets slower
        sock.setsockopt(socket.SOL_SOCKET, uapi.SO_SNDBUFFORCE, send_buffer)
    try:
        sock.setsockopt(uapi.SOL_XDP, uapi.XDP_MAX_TX_SKB_BUDGET, config.tx_slots)
    except OSError:  # before Linux 6.17, or a ring smaller than the default
        return DEFAULT_TX_BATCH
    return config.tx_slots


class BindTarget(NamedTuple):
    """What a socket is bound to."""

    interface: str
    ifindex: int
    queue: int

    def __str__(self) -> str:
        return f"{self.interface} queue {self.queue}"


def bind(
    sock: socket.socket, target: BindTarget, mode: XskMode, shared_with: socket.socket | None
) -> None:
    """Start packet flow; a shared socket takes its mode from the other (flags must be 0)."""
    if shared_with is None:
        copies = uapi.XDP_ZEROCOPY if mode is XskMode.NATIVE_ZEROCOPY else uapi.XDP_COPY
        flags, shared_fd = copies | uapi.XDP_USE_NEED_WAKEUP, 0
    else:
        flags, shared_fd = uapi.XDP_SHARED_UMEM, shared_with.fileno()
    address = uapi.SOCKADDR_XDP.pack(uapi.AF_XDP, flags, target.ifindex, target.queue, shared_fd)
    # The socket module knows no AF_XDP addresses.
    if _libc.bind(sock.fileno(), address, len(address)) != 0:
        number = ctypes.get_errno()
        shared = ", shared UMEM" if shared_with else ""
        raise SystemCallError(f"bind({target}, {mode}{shared})", number, os.strerror(number))
