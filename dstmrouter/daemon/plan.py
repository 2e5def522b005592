"""What a worker has to know when it starts; made by the supervisor, passed through a memfd.

Plain values only: a worker imports neither the configuration models nor anything of the control
plane, so that it starts in a fraction of a second.
"""

from __future__ import annotations

import dataclasses
import os
import pickle
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from dstmrouter.daemon.shared import Sizes
    from dstmrouter.pipeline.rules import TunnelRules

PACKET_MMAP: Final = "packet_mmap"
SOCKET: Final = "socket"
XDP_FRAMES: Final = "xdp-frames"
AUTO: Final = "auto"


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class PortPlan:
    """One port; descriptors are inherited."""

    interface: str
    mode: str  # an XskMode, or PACKET_MMAP
    xskmap_fd: int | None  # where AF_XDP sockets are put
    filter_fd: int | None  # the program that filters for packet sockets
    fanout_group: int | None  # of packet_mmap, if several workers share the interface
    busy_poll_us: int
    transmit: str = SOCKET  # of AF_XDP: or XDP_FRAMES, or AUTO for those where it works
    vlan: int | None = None  # tells ports apart that share an interface
    filter_in: bytes = b""  # classic BPF; empty for none
    filter_out: bytes = b""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class UmemPlan:
    """Packet memory of a worker and the rings of each port; numbers of entries."""

    frames: int
    chunk_size: int
    rx_slots: int
    tx_slots: int
    fill_slots: int
    completion_slots: int


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class WorkerPlan:
    """Everything about one worker."""

    worker: int  # its number, and the queue of every port that is its own
    cpu: int
    parent: int  # process id of the supervisor
    clock_zero: float  # monotonic time of second 0 of the router's clock
    tables_fd: int
    sizes: Sizes
    ports: tuple[PortPlan, ...]
    umem: UmemPlan
    rules: TunnelRules
    compiled: bool = True  # normal packets in compiled code, as soon as that is loaded
    begun_at: float = 0.0  # monotonic time at which its process was started

    def filters(self) -> list[tuple[bytes, bytes]]:
        """What the ports let in and out."""
        return [(port.filter_in, port.filter_out) for port in self.ports]

    def descriptors(self) -> list[int]:
        """What the worker must inherit."""
        bpf = [fd for port in self.ports for fd in (port.xskmap_fd, port.filter_fd)]
        return [self.tables_fd, *(fd for fd in bpf if fd is not None)]


def write_plan(plan: WorkerPlan) -> int:
    """Put a plan into a new memfd; return its descriptor, to be inherited and then closed."""
    fd = os.memfd_create("dstm-plan", os.MFD_CLOEXEC)
    with os.fdopen(os.dup(fd), "wb") as file:
        pickle.dump(plan, file)
    return fd


def read_plan(fd: int) -> WorkerPlan:
    """Read the plan that our parent wrote."""
    with os.fdopen(fd, "rb") as file:
        file.seek(0)
        plan = pickle.load(file)  # noqa: S301 - our own parent wrote it
    assert isinstance(plan, WorkerPlan)
    return plan
