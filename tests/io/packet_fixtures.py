"""A network namespace with one veth pair, for tests of packet sockets."""

from __future__ import annotations

import contextlib
import ctypes
import os
import socket
import subprocess
import time
from typing import TYPE_CHECKING

import numpy as np
import pytest

from dstmrouter.io.packetmmap import PacketMmapConfig, PacketMmapPort
from dstmrouter.io.umem import Umem
from lab.netns import PATIENCE_S

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from dstmrouter.io.port import Port
    from dstmrouter.io.umem import Addrs, Descs

SIZES = [42, 59, 60, 61, 64, 255, 256, 257, 511, 512, 513, 1024, 1025, 1500, 1513, 1514]
# On a busy machine each packet may get a block for itself, so there are more blocks than packets
# are ever sent before one is received.
SMALL = PacketMmapConfig(block_size=1 << 16, blocks=32, tx_slots=32, fill_slots=256)
CLONE_NEWNET = 0x40000000
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root for network namespaces")


@contextlib.contextmanager
def fresh_namespace() -> Iterator[None]:
    """Run in an own network namespace, which ends with its last socket."""
    libc = ctypes.CDLL(None, use_errno=True)
    home = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    try:
        if libc.unshare(CLONE_NEWNET):
            raise OSError(ctypes.get_errno(), "unshare")
        yield
    finally:
        if libc.setns(home, CLONE_NEWNET):
            raise OSError(ctypes.get_errno(), "setns")
        os.close(home)


@contextlib.contextmanager
def on_one_cpu() -> Iterator[None]:
    """Send from one CPU: what goes over veth from two may overtake each other."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(before)})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def ip(*words: str) -> str:
    done = subprocess.run(["ip", *words], check=True, capture_output=True, text=True)
    return done.stdout


@pytest.fixture
def veth() -> Iterator[tuple[str, str]]:
    """Two ends of a veth pair, up and silent (no IPv6, so no neighbour discovery)."""
    with fresh_namespace():
        with open("/proc/sys/net/ipv6/conf/default/disable_ipv6", "w") as knob:
            knob.write("1")
        ip("link", "add", "near", "type", "veth", "peer", "name", "far")
        for end in ("near", "far"):
            ip("link", "set", end, "up")
        yield "near", "far"


@pytest.fixture
def umem() -> Iterator[Umem]:
    memory = Umem(512)
    yield memory
    memory.close()


@contextlib.contextmanager
def raw_socket(interface: str) -> Iterator[socket.socket]:
    """A plain packet socket, for what goes in and out at the other end."""
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0) as sock:
        sock.setsockopt(socket.SOL_SOCKET, 33, 1 << 24)  # SO_RCVBUFFORCE
        sock.setsockopt(263, 23, 1)  # SOL_PACKET, PACKET_IGNORE_OUTGOING
        sock.bind((interface, 3))  # ETH_P_ALL
        sock.settimeout(PATIENCE_S)
        yield sock


@pytest.fixture(params=["numpy", "compiled"])
def port(
    request: pytest.FixtureRequest, veth: tuple[str, str], umem: Umem
) -> Iterator[PacketMmapPort]:
    with contextlib.closing(PacketMmapPort.open(veth[0], umem, SMALL)) as opened:
        if request.param == "compiled":
            opened.use_compiled()
        yield opened


@pytest.fixture
def far(veth: tuple[str, str]) -> Iterator[socket.socket]:
    with raw_socket(veth[1]) as opened:
        yield opened


def frame(number: int, size: int) -> bytes:
    """A frame of `size` octets that no other number has."""
    head = b"\x02\0\0\0\0\x01" + b"\x02\0\0\0\0\x02" + b"\x88\xb5"  # local experimental type
    body = number.to_bytes(4, "big") + np.random.default_rng(number).bytes(max(size - 18, 0))
    return (head + body)[:size]


def until(condition: Callable[[], bool], what: str) -> None:
    """Poll `condition`; fail when it does not come true."""
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        if time.monotonic() > deadline:
            pytest.fail(f"not within {PATIENCE_S} s: {what}")


def contents(umem: Umem, descs: Descs) -> list[bytes]:
    return [
        bytes(umem.memory[int(addr) : int(addr) + int(n)])
        for addr, n in zip(descs["addr"], descs["len"], strict=True)
    ]


class Worker:
    """The caller of a port: its frames and the ledger over them, checked at every step."""

    def __init__(self, umem: Umem, *ports: Port) -> None:
        self.umem = umem
        self.ports = ports
        self.burst = 0  # frames that are neither in the pool nor in a port
        for port in ports:
            self.refill(port)

    def check(self) -> None:
        held = sum(port.held().total for port in self.ports)
        assert len(self.umem.pool) + held + self.burst == self.umem.frames

    def refill(self, port: Port) -> None:
        frames = self.umem.pool.take(min(port.refill_room(), self.umem.frames // 4))
        n = port.refill(frames)
        self.umem.pool.give(frames[n:])
        self.check()

    def receive(self, port: Port, limit: int = 64) -> Descs:
        descs = port.receive(limit)
        self.burst += len(descs)
        self.check()
        return descs

    def free(self, addrs: Addrs) -> None:
        self.burst -= len(addrs)
        self.umem.pool.give(addrs)
        self.check()

    def take_contents(self, port: Port, limit: int = 64) -> list[bytes]:
        """Receive, copy out, free, refill."""
        descs = self.receive(port, limit)
        taken = contents(self.umem, descs)
        self.free(descs["addr"])
        self.refill(port)
        return taken

    def receive_all(self, port: Port, count: int) -> list[bytes]:
        """Exactly `count` packets, as they come."""
        taken: list[bytes] = []

        def enough() -> bool:
            taken.extend(self.take_contents(port))
            return len(taken) >= count

        until(enough, f"{count} packets")
        return taken

    def transmit(self, port: Port, descs: Descs) -> int:
        n = port.transmit(descs)
        self.burst -= n
        self.check()
        port.flush()
        returned = port.reclaim()
        self.umem.pool.give(returned)
        self.check()
        return n
