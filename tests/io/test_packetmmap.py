"""Both directions of a port, and links that come and go."""

from __future__ import annotations

import select
import socket
from contextlib import ExitStack, closing

import numpy as np
import pytest

from dstmrouter.io.packetmmap import PacketMmapPort
from dstmrouter.io.umem import DESC, Umem
from tests.io.packet_fixtures import (
    SMALL,
    Worker,
    far,
    frame,
    ip,
    needs_root,
    port,
    raw_socket,
    umem,
    until,
    veth,
)

__all__ = ["far", "port", "umem", "veth"]  # fixtures
pytestmark = [pytest.mark.netns, needs_root]


def test_a_frame_goes_from_port_to_port(veth: tuple[str, str], umem: Umem) -> None:
    ip("link", "add", "near2", "type", "veth", "peer", "name", "far2")
    ip("link", "set", "near2", "up")
    ip("link", "set", "far2", "up")
    with ExitStack() as undo:
        ports = [
            undo.enter_context(closing(PacketMmapPort.open(name, umem, SMALL)))
            for name in (veth[0], "near2")
        ]
        sender = undo.enter_context(raw_socket(veth[1]))
        sink = undo.enter_context(raw_socket("far2"))
        worker = Worker(umem, *ports)
        sent = [frame(i, 600) for i in range(20)]
        for each in sent:
            sender.send(each)
        count = 0

        def forwarded() -> bool:
            nonlocal count
            descs = worker.receive(ports[0])
            descs["addr"] += np.uint64(14)
            descs["len"] -= 14
            count += worker.transmit(ports[1], descs)
            return count == len(sent)

        until(forwarded, "20 packets forwarded")
        assert [sink.recv(2048) for _ in sent] == [each[14:] for each in sent]


def test_a_link_that_goes_down_and_comes_back(
    port: PacketMmapPort, umem: Umem, far: socket.socket, veth: tuple[str, str]
) -> None:
    worker = Worker(umem, port)
    descs = np.zeros(1, DESC)
    descs["addr"] = umem.pool.take(1)
    descs["len"] = 60
    worker.burst = 1
    ip("link", "set", veth[0], "down")
    assert len(worker.receive(port)) == 0
    assert select.select([port], [], [], 0) == ([], [], [])  # no error that keeps poll(2) awake
    assert worker.transmit(port, descs) == 1
    assert port.statistics()["tx_down"] == 1
    ip("link", "set", veth[0], "up")
    until(lambda: "state UP" in ip("link", "show", veth[1]), "link up")
    far.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
    far.send(frame(1, 60))
    assert worker.receive_all(port, 1) == [frame(1, 60)]
    port.flush()  # the packet has waited
    assert len(far.recv(2048)) == 60


def test_an_interface_that_is_deleted_is_only_counted(
    port: PacketMmapPort, umem: Umem, veth: tuple[str, str]
) -> None:
    worker = Worker(umem, port)
    ip("link", "delete", veth[0])
    assert len(worker.receive(port)) == 0
    descs = np.zeros(1, DESC)
    descs["addr"] = umem.pool.take(1)
    worker.burst = 1
    assert worker.transmit(port, descs) == 1
    assert port.statistics()["tx_down"] == 1
