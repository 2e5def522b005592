"""Opening what a worker has of the ports: its packet memory, and one queue of each interface."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dstmrouter.daemon.plan import AUTO, PACKET_MMAP, XDP_FRAMES, PortPlan, WorkerPlan
from dstmrouter.errors import DstmError
from dstmrouter.io.afxdp import XskConfig, XskMode, XskSocket, open_sockets
from dstmrouter.io.packetconfig import PacketMmapConfig
from dstmrouter.io.packetmmap import PacketMmapPort
from dstmrouter.io.steering import XskMap
from dstmrouter.io.taggedport import parted
from dstmrouter.io.umem import Umem
from dstmrouter.io.xdpframes import FrameSender, PacketArray
from dstmrouter.io.xdpport import XdpFramePort

if TYPE_CHECKING:
    import contextlib

    from dstmrouter.io.port import Port


class PacketMemory:
    """The UMEM of a worker, and the sender of XDP frames out of it, if a port wants one."""

    def __init__(self, plan: WorkerPlan, undo: contextlib.ExitStack) -> None:
        """Raises DstmError where a port must send XDP frames and cannot."""
        self.sender: FrameSender | None = None
        self.note: str | None = None
        self.wanted = [port.interface for port in _once(plan) if _sends_frames(port)]
        if self.wanted:
            try:
                self.umem, self.sender = self._with_sender(plan, undo)
            except DstmError as error:
                if any(port.transmit == XDP_FRAMES for port in plan.ports):
                    raise
                self.note = f"no XDP frames: {str(error).splitlines()[0]}"
            else:
                return
        self.umem = Umem(plan.umem.frames, plan.umem.chunk_size)
        undo.callback(self.umem.close)

    def _with_sender(
        self, plan: WorkerPlan, undo: contextlib.ExitStack
    ) -> tuple[Umem, FrameSender]:
        packets = PacketArray(plan.umem.frames, plan.umem.chunk_size)
        try:
            # Until they are reclaimed: what the kernel completes of a socket's packets, and ours.
            slots, done_slots = plan.umem.tx_slots, plan.umem.completion_slots
            done_slots = 2 * max(slots, done_slots)
            sender = FrameSender(packets, len(self.wanted), slots, done_slots)
        except DstmError:
            packets.close()
            raise
        undo.callback(packets.close)
        undo.callback(sender.close)
        return packets.umem, sender


def open_ports(plan: WorkerPlan, packets: PacketMemory, undo: contextlib.ExitStack) -> list[Port]:
    """Open the worker's queue of all ports, AF_XDP ones together; they share `packets.umem`."""
    umem = packets.umem
    opened: dict[str, Port] = {}
    xdp = [port for port in _once(plan) if port.mode != PACKET_MMAP]
    if xdp:
        configs = [_xsk_config(plan, port) for port in xdp]
        names = [port.interface for port in xdp]
        for port, sock in zip(xdp, open_sockets(names, plan.worker, umem, configs), strict=True):
            undo.callback(sock.close)
            opened[port.interface] = _sending(sock, packets, undo)
            assert port.xskmap_fd is not None
            XskMap.from_fd(port.xskmap_fd).set(plan.worker, sock.fileno())
    for port in _once(plan):
        if port.mode == PACKET_MMAP:
            config = PacketMmapConfig(
                tx_slots=plan.umem.tx_slots,
                fill_slots=plan.umem.fill_slots,
                filter_fd=port.filter_fd,
                fanout_group=port.fanout_group,
            )
            opened[port.interface] = PacketMmapPort.open(port.interface, umem, config)
            undo.callback(opened[port.interface].close)
    return parted([(opened[port.interface], port.vlan) for port in plan.ports], umem.octets)


def _once(plan: WorkerPlan) -> list[PortPlan]:
    """The ports, each interface once, also if several share it."""
    return list({port.interface: port for port in plan.ports}.values())


def _sends_frames(port: PortPlan) -> bool:
    return port.mode != PACKET_MMAP and port.transmit in {AUTO, XDP_FRAMES}


def _sending(sock: XskSocket, packets: PacketMemory, undo: contextlib.ExitStack) -> Port:
    """The socket, or what sends most of its packets in another way."""
    if packets.note is not None:
        sock.mode_notes.append(packets.note)
    if packets.sender is None or sock.name not in packets.wanted or sock.mode_taken.zero_copy:
        return sock
    port = XdpFramePort(sock, packets.sender, packets.wanted.index(sock.name))
    undo.callback(port.close)
    return port


def _xsk_config(plan: WorkerPlan, port: PortPlan) -> XskConfig:
    return XskConfig(
        mode=XskMode(port.mode),
        fill_slots=plan.umem.fill_slots,
        rx_slots=plan.umem.rx_slots,
        tx_slots=plan.umem.tx_slots,
        completion_slots=plan.umem.completion_slots,
        busy_poll_us=port.busy_poll_us,
    )
