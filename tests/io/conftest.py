"""Fixtures: a fresh network namespace and veth pairs inside it."""

from __future__ import annotations

import ctypes
import dataclasses
import json
import os
import select
import socket
import subprocess
import time
from typing import TYPE_CHECKING, Final

import pytest

from lab.netns import PATIENCE_S

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

CLONE_NEWNET: Final = 0x40000000  # linux/sched.h
ETH_P_ALL: Final = 3
SO_RCVBUFFORCE: Final = 33  # asm-generic/socket.h

_libc = ctypes.CDLL(None, use_errno=True)


def ip(arguments: str) -> str:
    """Run `ip ARGUMENTS` in the current namespace and return what it prints."""
    command = ["ip", *arguments.split()]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def wait_for(condition: Callable[[], bool], what: str) -> None:
    """Poll until `condition` holds; fail the test after a deadline."""
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline, f"not within {PATIENCE_S} s: {what}"
        select.select([], [], [], 0.002)


@pytest.fixture
def netns() -> Iterator[None]:
    """The test runs in a network namespace of its own, which ends with it."""
    if os.geteuid() != 0:
        pytest.skip("network namespaces need root")
    home = os.open("/proc/self/ns/net", os.O_RDONLY)
    try:
        assert _libc.unshare(CLONE_NEWNET) == 0, os.strerror(ctypes.get_errno())
        ip("link set lo up")
        yield
    finally:
        assert _libc.setns(home, CLONE_NEWNET) == 0, os.strerror(ctypes.get_errno())
        os.close(home)


@dataclasses.dataclass(frozen=True)
class Veth:
    """A pair: the router's end, and the end where a test sends and listens."""

    near: str
    far: str

    @property
    def ifindex(self) -> int:
        """The interface number of the near end."""
        return socket.if_nametoindex(self.near)

    def take_frames(self, state: str = "on") -> None:
        """Have the near end take XDP frames (GRO at the far end, which veth wants for it), or not.

        `state` is `on` or `off`.
        """
        command = ["ethtool", "-K", self.far, "gro", state]
        subprocess.run(command, check=True, capture_output=True)

    def tap(self) -> socket.socket:
        """A raw socket at the far end, non-blocking."""
        tap = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ETH_P_ALL))
        tap.bind((self.far, 0))
        tap.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, 8 << 20)  # the default holds 256 frames
        tap.setblocking(False)
        return tap


def drain(tap: socket.socket) -> list[bytes]:
    """The frames that a tap has received so far."""
    frames = []
    while select.select([tap], [], [], 0)[0]:
        frames.append(tap.recv(65536))
    return frames


def collect(tap: socket.socket, count: int) -> list[bytes]:
    """Wait for `count` frames at a tap; return these and what else has come."""
    frames: list[bytes] = []

    def enough() -> bool:
        frames.extend(drain(tap))
        return len(frames) >= count

    wait_for(enough, f"{count} frames")
    return frames


def mac_of(interface: str) -> bytes:
    """The hardware address of an interface."""
    address: str = json.loads(ip(f"-json link show {interface}"))[0]["address"]
    return bytes.fromhex(address.replace(":", ""))


def frames_read(device: str) -> int:
    """Frames that whoever has a TAP device open has read from it."""
    (state,) = json.loads(ip(f"-json -stats link show {device}"))
    packets: int = state["stats64"]["tx"]["packets"]
    return packets


@pytest.fixture
def veth(netns: None) -> Callable[[str], Veth]:  # noqa: ARG001 the namespace must exist first
    """Make a pair `NAMEn`, `NAMEf` that sends nothing by itself."""

    def make(name: str) -> Veth:
        pair = Veth(f"{name}n", f"{name}f")
        ip(f"link add {pair.near} type veth peer name {pair.far}")
        for end in (pair.near, pair.far):
            with open(f"/proc/sys/net/ipv6/conf/{end}/disable_ipv6", "w") as quiet:
                quiet.write("1")
            ip(f"link set dev {end} up")
        return pair

    return make


@pytest.fixture
def pairs(veth: Callable[[str], Veth]) -> list[Veth]:
    """Two pairs: an-af and bn-bf."""
    return [veth("a"), veth("b")]
