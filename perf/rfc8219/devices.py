"""Devices under test: what stands between the two ports of the tester.

On this machine a device sits in a namespace of its own, behind two veth pairs. `external` is any
gateway between two ports given by name; how it is configured is `export`'s matter.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import threading
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Final, Protocol

import numpy as np

from dstmrouter.binding import full_address_columns
from dstmrouter.zmqctl import LeasePusher
from perf.gateway import POOL, TEP6, RouterProcess
from perf.packets import client6_of
from perf.rfc8219.export import kernel_tunnels
from perf.rfc8219.realtime import realtime

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from perf.gateway import Gateway

MODES: Final = {"dstm-afxdp": "auto", "dstm-packet_mmap": "packet_mmap"}
RESETS: Final = ("worker", "router")
FORWARDING: Final = {
    "net.ipv4.ip_forward": "1",
    "net.ipv4.conf.all.rp_filter": "0",
    "net.ipv4.conf.default.rp_filter": "0",
    "net.ipv6.conf.all.forwarding": "1",
}


class Device(Protocol):
    """What can be done to a device besides sending it frames."""

    name: str

    def waited_s(self) -> float:
        """Seconds that it could have run and had no CPU, so far; 0 if that is not known."""

    def reset(self, how: str) -> None:
        """Interrupt it as `how` says; ValueError if it knows no such way."""


class NoReset:
    """A device that the harness cannot interrupt."""

    def __init__(self, name: str) -> None:
        self.name = name

    def waited_s(self) -> float:
        """Not known."""
        return 0.0

    def reset(self, how: str) -> None:
        """Refuse."""
        raise ValueError(f"{self.name}: no reset {how!r}")


class Router:
    """A `dstm-router` with its bindings.

    `realtime` is the worker's, `perf.rfc8219.realtime` says how.
    """

    def __init__(
        self, gateway: Gateway, name: str, bindings: int, *, realtime: bool = False
    ) -> None:
        self.name = name
        self._gateway, self._bindings, self._realtime = gateway, bindings, realtime
        self._running = ExitStack()
        self._start()

    def _start(self) -> None:
        mode, leases = MODES[self.name], max(self._bindings, 1024)
        self._router = self._running.enter_context(self._gateway.router(mode, leases=leases))
        push(self._gateway.control, self._bindings)
        if self._realtime:
            self._running.enter_context(realtime(self._router.worker_pid()))

    @property
    def process(self) -> RouterProcess:
        """The running router."""
        return self._router

    def waited_s(self) -> float:
        """Of the worker; what others on its CPU took shows as delays and losses."""
        return waited_s(self._router.worker_pid())

    def reset(self, how: str) -> None:
        """Kill the worker, which its supervisor replaces, or stop the router and start it anew."""
        if how == "worker":
            os.kill(self._router.worker_pid(), signal.SIGKILL)
        elif how == "router":
            self._running.close()
            self._start()
        else:
            raise ValueError(f"reset {how!r}: expected one of {', '.join(RESETS)}")

    def close(self) -> None:
        """Stop it."""
        self._running.close()


class Commanded:
    """A device elsewhere, reset by a command of whoever measures."""

    def __init__(self, command: Sequence[str]) -> None:
        self.name = "external"
        self._command = command

    def waited_s(self) -> float:
        """Not known."""
        return 0.0

    def reset(self, how: str) -> None:
        """Run the command; `how` only names it."""
        if not self._command:
            raise ValueError(f"reset {how!r} of an external device: give --reset-command")
        subprocess.run(self._command, check=True)


def waited_s(pid: int) -> float:
    """Time that a process was ready and had no CPU (kernel Documentation/scheduler/sched-stats)."""
    return int(Path(f"/proc/{pid}/schedstat").read_text().split()[1]) / 1e9


def push(control: str, bindings: int) -> None:
    """Give a router the bindings of all frames."""
    ipv4 = np.uint32(int(POOL.network_address)) + np.arange(bindings, dtype=np.uint32)
    columns = full_address_columns(ipv4, client6_of(ipv4), lifetime_s=86400, tep6=[TEP6])
    with LeasePusher(control, source="perf") as pusher:
        pushed = pusher.put(columns)
    assert pushed.rows == bindings, pushed


@contextlib.contextmanager
def running(
    gateway: Gateway, name: str, bindings: int, *, realtime: bool = False
) -> Iterator[Device]:
    """The device `name` in the gateway's namespace while the block runs."""
    if name == "kernel":
        gateway.space.sysctl(FORWARDING)
        batch = gateway.directory / "kernel.batch"
        batch.write_text(kernel_tunnels(bindings))
        gateway.space.ip("-batch", str(batch))
        yield NoReset(name)
        return
    router = Router(gateway, name, bindings, realtime=realtime)
    try:
        yield router
    finally:
        router.close()


@contextlib.contextmanager
def reset_after(device: Device, how: str, seconds: float) -> Iterator[None]:
    """Reset the device from another thread some time into the block; wait for its end."""
    errors: list[Exception] = []

    def reset() -> None:
        try:
            device.reset(how)
        except Exception as error:  # noqa: BLE001  # raised where it is heard
            errors.append(error)

    timer = threading.Timer(seconds, reset)
    timer.start()
    try:
        yield
    finally:
        timer.join()
    if errors:
        raise errors[0]
