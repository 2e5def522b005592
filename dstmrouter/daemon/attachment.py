"""Steering programs of all ports: loaded, attached, and gone with this process.

The mode of a port is decided here as far as the interface decides it: native XDP where the driver
can, else generic, else packet_mmap. Whether a native socket copies is found out by the workers.
"""

from __future__ import annotations

import contextlib
import dataclasses
import errno
import os
import socket
from typing import TYPE_CHECKING, Final

import structlog

from dstmrouter.daemon.plan import AUTO, PACKET_MMAP, SOCKET, PortPlan
from dstmrouter.errors import DstmError, SystemCallError
from dstmrouter.io.steering import (
    SteeringMaps,
    XdpMode,
    XskMap,
    attach_tcx,
    attach_xdp,
    load_filter,
    load_tc,
    load_xdp,
)
from dstmrouter.io.uapi import TcAction, XdpAction
from dstmrouter.io.xdpfeatures import XdpFeature, may_take_frames, xdp_features
from dstmrouter.wire import ether

if TYPE_CHECKING:
    from collections.abc import Sequence
    from ipaddress import IPv4Network, IPv6Address

    from dstmrouter.config.router import PortConfig
    from dstmrouter.io.bpf import Program
    from dstmrouter.io.steering_program import Vlans

_STEERED_BY: Final = 256  # octets from the start of a frame: more than programs look at
BUSY_POLL_US: Final = 20  # long enough to find the next burst at 50,000 bursts/s
_XDP_MODES: Final = {
    "auto": None,
    "native-zerocopy": XdpMode.NATIVE,
    "native-copy": XdpMode.NATIVE,
    "generic": XdpMode.GENERIC,
}
ZERO_COPY_MODES: Final = (AUTO, "native-zerocopy")
_log = structlog.get_logger(__name__)


class Attachment:
    """Holds maps, programs and links; the links in this process alone."""

    def __init__(self, tep6: Sequence[IPv6Address], pools: Sequence[IPv4Network]) -> None:
        with contextlib.ExitStack() as undo:
            self._maps = undo.enter_context(SteeringMaps())
            self._maps.set_tep6(tep6)
            self._maps.set_pools(pools)
            self._undo = undo.pop_all()
        self._programs: dict[str, tuple[Program, int]] = {}  # by interface; what it says to ours

    def attach_all(self, ports: Sequence[PortConfig], workers: int) -> list[PortPlan]:
        """Steer our packets on all ports; those that share an interface share its program."""
        plans: dict[str, PortPlan] = {}
        for number, port in enumerate(ports):
            if port.interface not in plans:
                vlans = [other.vlan for other in ports if other.interface == port.interface]
                plans[port.interface] = self.attach(number, port, workers, vlans)
        return [dataclasses.replace(plans[port.interface], vlan=port.vlan) for port in ports]

    def attach(
        self, number: int, port: PortConfig, workers: int, vlans: Vlans | None = None
    ) -> PortPlan:
        """Steer our packets on a port to its workers; say how they are to open it.

        `vlans` are those of all ports on the interface; only that of the port by default.
        Raises DstmError if there is no such interface.
        """
        vlans = [port.vlan] if vlans is None else vlans
        queues = receive_queues(port.interface)
        if queues > workers and port.mode != PACKET_MMAP:
            _log.warning(
                "more receive queues than workers: what the others receive stays with the kernel",
                port=port.interface,
                queues=queues,
                workers=workers,
                remedy=f"ethtool -L {port.interface} combined {workers}",
            )
        if port.mode == PACKET_MMAP:
            return self._attach_tc(number, port, workers, vlans)
        try:
            return self._attach_xdp(port, vlans)
        except SystemCallError as error:
            if port.mode != "auto":
                raise
            _log.warning("no XDP here, taking packet_mmap", port=port.interface, why=str(error))
            return self._attach_tc(number, port, workers, vlans)

    def close(self) -> None:
        """Detach everything; harmless when repeated."""
        self._undo.close()

    def takes(self, interface: str, frame: bytes) -> bool | None:
        """Whether the program of an interface would take a frame; None if that is not known."""
        program, ours = self._programs.get(interface, (None, 0))
        if program is None or len(frame) < ether.HEADER_LEN:
            return None
        return program.run(frame[:_STEERED_BY]).action == ours

    def _attach_xdp(self, port: PortConfig, vlans: Vlans) -> PortPlan:
        xskmap = self._undo.enter_context(XskMap.create())
        program = self._undo.enter_context(load_xdp(self._maps, xskmap, *vlans))
        link = attach_xdp(_ifindex(port.interface), program, _XDP_MODES[port.mode])
        self._undo.enter_context(link)
        self._programs[port.interface] = program, XdpAction.REDIRECT
        _log.info(
            "steering program attached",
            port=port.interface,
            xdp=link.mode.value,
            refused=link.notes or None,
        )
        generic = link.mode is XdpMode.GENERIC
        return PortPlan(
            interface=port.interface,
            mode="generic" if generic else port.mode,
            xskmap_fd=xskmap.fileno(),
            filter_fd=None,
            fanout_group=None,
            busy_poll_us=BUSY_POLL_US if port.busy_poll else 0,
            transmit=_transmit(port),
        )

    def _attach_tc(self, number: int, port: PortConfig, workers: int, vlans: Vlans) -> PortPlan:
        wanted = self._undo.enter_context(load_filter(self._maps, *vlans))
        program = self._undo.enter_context(load_tc(self._maps, *vlans))
        self._undo.enter_context(attach_tcx(_ifindex(port.interface), program))
        self._programs[port.interface] = program, TcAction.SHOT
        _log.info("steering program attached", port=port.interface, tc="ingress, drops our packets")
        group = (os.getpid() * 8 + number) & 0xFFFF  # per port and router, in one namespace
        return PortPlan(
            interface=port.interface,
            mode=PACKET_MMAP,
            xskmap_fd=None,
            filter_fd=wanted.fileno(),
            fanout_group=group if workers > 1 else None,
            busy_poll_us=0,
        )


def claim(interface: str) -> socket.socket:
    """Make the interface this router's, in this network namespace, until the socket is closed.

    Two TC programs on one interface are no error to the kernel, but every packet would leave twice.
    The name of an abstract UNIX socket belongs to the namespace and ends with the process.
    """
    claimed = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    try:
        claimed.bind(f"\0dstm-router/{interface}")
    except OSError as error:
        claimed.close()
        if error.errno != errno.EADDRINUSE:
            raise
        raise DstmError(f"port {interface}: another dstm-router has it") from None
    return claimed


def _transmit(port: PortConfig) -> str:
    """How a port is to send: `auto` is out of place where a driver sends without copying."""
    if port.transmit != AUTO:
        return port.transmit
    zero_copy = XdpFeature.XSK_ZEROCOPY in xdp_features(port.interface)
    if zero_copy and port.mode in ZERO_COPY_MODES:
        return SOCKET
    return AUTO if may_take_frames(port.interface) else SOCKET


def receive_queues(interface: str) -> int:
    """How many receive queues the interface has; 1 if the kernel does not say."""
    with contextlib.suppress(OSError):
        queues = os.listdir(f"/sys/class/net/{interface}/queues")
        return sum(name.startswith("rx-") for name in queues) or 1
    return 1


def _ifindex(interface: str) -> int:
    try:
        return socket.if_nametoindex(interface)
    except OSError:
        raise DstmError(f"port {interface}: there is no such interface") from None
