"""What a worker opens: packet memory and ports, as its plan says."""

from __future__ import annotations

import contextlib
import dataclasses
import os
from typing import TYPE_CHECKING

import pytest

from dstmrouter.daemon.plan import AUTO, SOCKET, XDP_FRAMES, PortPlan, WorkerPlan
from dstmrouter.daemon.ports import PacketMemory, open_ports
from dstmrouter.daemon.shared import SharedTables
from dstmrouter.errors import SystemCallError
from dstmrouter.io.afxdp import XskSocket
from dstmrouter.io.packetmmap import PacketMmapPort
from dstmrouter.io.steering import XskMap
from dstmrouter.io.taggedport import TagPort
from dstmrouter.io.xdpport import XdpFramePort
from lab.netns import Lab, veth
from tests.daemon.plans import SIZES, plan

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.netns


@pytest.fixture
def undo() -> Iterator[contextlib.ExitStack]:
    """This process is in a namespace with the interfaces a and b."""
    with Lab() as lab, contextlib.ExitStack() as stack:
        near, far = lab.namespace("near"), lab.namespace("far")
        for name in "ab":
            veth((near, name), (far, name))
        stack.enter_context(near.entered())
        yield stack


def plan_of(undo: contextlib.ExitStack, **transmits: str) -> WorkerPlan:
    """A worker of AF_XDP ports that are to send as said."""
    made = plan(SharedTables.create(SIZES), "a")
    ports = tuple(
        PortPlan(
            interface=name,
            mode="auto",
            # A worker owns what it inherits.
            xskmap_fd=os.dup(undo.enter_context(XskMap.create()).fileno()),
            filter_fd=None,
            fanout_group=None,
            busy_poll_us=0,
            transmit=transmit,
        )
        for name, transmit in transmits.items()
    )
    return dataclasses.replace(made, ports=ports)


def test_each_port_sends_as_planned(undo: contextlib.ExitStack) -> None:
    made = plan_of(undo, a=SOCKET, b=XDP_FRAMES)
    packets = PacketMemory(made, undo)
    a, b = open_ports(made, packets, undo)
    assert isinstance(a, XskSocket)
    assert isinstance(b, XdpFramePort)
    assert packets.sender is not None


def test_without_xdp_frames_memory_is_the_workers_own(undo: contextlib.ExitStack) -> None:
    made = plan_of(undo, a=SOCKET, b=SOCKET)
    packets = PacketMemory(made, undo)
    assert packets.sender is None
    assert all(isinstance(port, XskSocket) for port in open_ports(made, packets, undo))


def test_packet_mmap_never_sends_xdp_frames(undo: contextlib.ExitStack) -> None:
    made = plan(SharedTables.create(SIZES), "a")
    ports = tuple(dataclasses.replace(port, transmit=XDP_FRAMES) for port in made.ports)
    made = dataclasses.replace(made, ports=ports)
    packets = PacketMemory(made, undo)
    assert packets.sender is None
    (port,) = open_ports(made, packets, undo)
    assert isinstance(port, PacketMmapPort)


def test_ports_on_one_interface_share_its_ring(undo: contextlib.ExitStack) -> None:
    made = plan_of(undo, a=AUTO)
    ports = [dataclasses.replace(made.ports[0], vlan=vlan) for vlan in (None, 100)]
    made = dataclasses.replace(made, ports=tuple(ports))
    first, second = open_ports(made, PacketMemory(made, undo), undo)
    assert isinstance(first, TagPort)
    assert isinstance(second, TagPort)
    assert first.interface is second.interface
    assert first.sends == second.sends == "xdp-frames"


@pytest.mark.parametrize("transmit", [AUTO, XDP_FRAMES])
def test_where_the_kernel_cannot(
    undo: contextlib.ExitStack, monkeypatch: pytest.MonkeyPatch, transmit: str
) -> None:
    def refuse(*_: object) -> None:
        raise SystemCallError("create TAP device", 2, "No such file or directory\nlong report")

    monkeypatch.setattr("dstmrouter.io.xdpframes.KnownProgram", refuse)
    made = plan_of(undo, a=transmit, b=SOCKET)
    if transmit == XDP_FRAMES:
        with pytest.raises(SystemCallError, match="create TAP device"):
            PacketMemory(made, undo)
        return
    packets = PacketMemory(made, undo)
    assert packets.sender is None
    a, _ = open_ports(made, packets, undo)
    assert isinstance(a, XskSocket)
    assert a.mode_notes[-1] == "no XDP frames: create TAP device: No such file or directory"
