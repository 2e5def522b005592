"""Two real kernels' worth of networking: our host, and a peer behind a veth pair.

Our host is a network namespace that exists as long as one thread does, the peer's as long as one
process, so nothing can be left behind.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import json
import os
import subprocess
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final

import pytest

from lab.netns import PATIENCE_S

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterator

CLONE_NEWNET: Final = 0x40000000  # include/uapi/linux/sched.h
PEER_LIFE_S: Final = 120  # should this process be killed before it can end the peer

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="makes network namespaces: needs root")


def in_own_namespace(main: Callable[[], Coroutine[None, None, None]]) -> None:
    """Run `main` in an event loop whose sockets and child processes are in a new namespace."""
    failures: list[BaseException] = []

    def work() -> None:
        try:
            _leave_namespace()
            asyncio.run(main())
        except BaseException as failure:  # noqa: BLE001 - raised again in the test's own thread
            failures.append(failure)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    if failures:
        raise failures[0]


def _leave_namespace() -> None:
    """Move this thread to a new network namespace (os.unshare is of Python 3.12)."""
    if ctypes.CDLL(None, use_errno=True).unshare(CLONE_NEWNET) != 0:
        raise OSError(ctypes.get_errno(), "unshare")


def run(command: str) -> str:
    """Run a command in the namespace of this thread."""
    return subprocess.run(command.split(), check=True, capture_output=True, text=True).stdout


class Peer:
    """Another host; `run` is a command on it."""

    def __init__(self, pid: int) -> None:
        self.pid = pid

    def run(self, command: str) -> str:
        return run(f"nsenter -t {self.pid} -n {command}")

    def mac(self, device: str) -> bytes:
        [link] = json.loads(self.run(f"ip -j link show {device}"))
        return bytes.fromhex(link["address"].replace(":", ""))


@contextlib.contextmanager
def peer_host() -> Iterator[Peer]:
    """A host without links, until the context ends."""
    ours = Path("/proc/thread-self/ns/net").readlink()
    with subprocess.Popen(["unshare", "--net", "sleep", str(PEER_LIFE_S)]) as process:
        try:
            theirs = Path(f"/proc/{process.pid}/ns/net")
            deadline = time.monotonic() + PATIENCE_S
            while theirs.readlink() == ours:
                assert time.monotonic() < deadline, "the peer's namespace did not come up"
            yield Peer(process.pid)
        finally:
            process.kill()


def join(peer: Peer, ours: str, theirs: str) -> None:
    """Connect our host and the peer by a veth pair, both ends up, without DAD."""
    run(f"ip link add {ours} type veth peer name {theirs} netns {peer.pid}")
    for end, name in ((run, ours), (peer.run, theirs)):
        end(f"sysctl -qw net.ipv6.conf.{name}.accept_dad=0")
        end(f"ip link set {name} up")


async def until(condition: Callable[[], bool], what: str) -> None:
    """Wait for a condition, and fail when it does not come true."""
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline, f"not within {PATIENCE_S} s: {what}"
        await asyncio.sleep(0.01)
