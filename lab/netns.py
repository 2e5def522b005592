"""Network namespaces that end with the program, and veth pairs between them.

A `Lab` owns namespaces named `dstm-PID-SERIAL-LABEL`. They are ordinary `ip netns` namespaces, so
while something runs one can look in: `ip netns exec dstm-4711-0-router ip -6 route`. Everything in
them ends with the `Lab`; what a killed program left behind is removed when the next `Lab` starts,
known by the process id in the name.
"""

from __future__ import annotations

import contextlib
import dataclasses
import itertools
import os
import re
import signal
import socket
import subprocess
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Self

from pyroute2 import netns as kernel

from dstmrouter.io.owner import Closing

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

PREFIX: Final = "dstm"
NETNS_DIR: Final = Path("/run/netns")
SERIALS: Final = itertools.count()
PATIENCE_S: Final = 60.0  # for what takes a moment; on a busy machine only a fault takes longer
STOP_TIMEOUT_S: Final = 20.0  # between SIGTERM and SIGKILL; a busy machine may need some
OFFLOADS_OFF: Final = ("tx", "off", "tso", "off", "gso", "off", "gro", "off")
QUIET_SYSCTLS: Final = {  # addresses are usable at once, and no router is looked for
    "net.ipv6.conf.{}.accept_dad": "0",
    "net.ipv6.conf.{}.accept_ra": "0",
    "net.ipv6.conf.{}.router_solicitations": "0",
}


class LabError(Exception):
    """A command of the lab failed; `str()` shows the command and what it said."""


def run(*command: str | Path, timeout_s: float = PATIENCE_S, check: bool = True) -> str:
    """Run a command to its end and return what it printed (both streams)."""
    words = [str(word) for word in command]
    try:
        done = subprocess.run(
            words,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=timeout_s,
            text=True,
            errors="replace",
            check=False,
        )
    except subprocess.TimeoutExpired as late:
        raise LabError(f"{' '.join(words)}: no end after {timeout_s} s\n{late.output}") from None
    if check and done.returncode != 0:
        raise LabError(f"{' '.join(words)}: exit code {done.returncode}\n{done.stdout}")
    return done.stdout


def wait_until(condition: Callable[[], object], what: str, timeout_s: float = PATIENCE_S) -> None:
    """Poll `condition` until it is true; LabError names `what` when it does not get so."""
    deadline = time.monotonic() + timeout_s
    while not condition():
        if time.monotonic() > deadline:
            raise LabError(f"{what}: not within {timeout_s} s")
        time.sleep(0.02)


@dataclasses.dataclass(frozen=True, slots=True)
class Namespace:
    """One network namespace of a `Lab`."""

    name: str
    started: list[subprocess.Popen[Any]] = dataclasses.field(default_factory=list, compare=False)

    def run(self, *command: str | Path, timeout_s: float = PATIENCE_S, check: bool = True) -> str:
        """Run a command inside to its end and return what it printed."""
        return run("ip", "netns", "exec", self.name, *command, timeout_s=timeout_s, check=check)

    def popen(self, *command: str | Path, **options: Any) -> subprocess.Popen[Any]:
        """Start a command inside; it is stopped with the lab. `options` are those of Popen.

        `ip netns exec` becomes the command, so the process id is the command's own.
        """
        words = ["ip", "netns", "exec", self.name, *(str(word) for word in command)]
        process = subprocess.Popen(words, **{"stdin": subprocess.DEVNULL, **options})
        self.started.append(process)
        return process

    def ip(self, *arguments: str) -> str:
        """Configure with `ip`, without the cost of entering the namespace."""
        return run("ip", "-n", self.name, *arguments)

    def address(self, interface: str, *addresses: str) -> None:
        """Give addresses with prefix lengths to an interface, and set it up."""
        for address in addresses:
            nodad = ("nodad",) if ":" in address else ()
            self.ip("address", "add", address, "dev", interface, *nodad)
        self.ip("link", "set", "dev", interface, "up")

    def route(self, *words: str) -> None:
        """Add a route: `route("default", "via", "2001:db8::1")`, `route("blackhole", PREFIX)`."""
        family = "-6" if any(":" in word for word in words) else "-4"
        self.ip(family, "route", "add", *words)

    def sysctl(self, settings: dict[str, str]) -> None:
        """Set kernel variables of this namespace, named as in sysctl(8)."""
        with self.entered():
            for name, value in settings.items():
                Path("/proc/sys", *name.split(".")).write_text(value)

    @contextlib.contextmanager
    def entered(self) -> Iterator[None]:
        """Let this thread be in the namespace: sockets it makes belong there for ever."""
        home = os.open(f"/proc/self/task/{threading.get_native_id()}/ns/net", os.O_RDONLY)
        try:
            kernel.setns(self.name, flags=0)
            try:
                yield
            finally:
                kernel.setns(home)
        finally:
            os.close(home)

    def close(self) -> None:
        """Stop all processes inside and remove the namespace with its interfaces."""
        try:
            for process in self.started:
                stop(process)
            end_processes(self.name)
        finally:
            run("ip", "netns", "delete", self.name)


class Lab(Closing):
    """Namespaces that begin and end together; a context manager."""

    def __init__(self) -> None:
        self._prefix = f"{PREFIX}-{os.getpid()}-{next(SERIALS)}-"
        self._namespaces: dict[str, Namespace] = {}

    def __enter__(self) -> Self:
        remove_leftovers()
        return self

    def namespace(self, label: str) -> Namespace:
        """Make a namespace; its loopback interface is up."""
        made = Namespace(self._prefix + label)
        run("ip", "netns", "add", made.name)
        self._namespaces[label] = made
        for scope in ("all", "default"):
            made.sysctl({name.format(scope): value for name, value in QUIET_SYSCTLS.items()})
        made.ip("link", "set", "dev", "lo", "up")
        return made

    def close(self) -> None:
        """Remove all namespaces in the order they were made; harmless when repeated.

        So the topology's clients end before those they say goodbye to, and wait for no answer.
        """
        with contextlib.ExitStack() as undo:  # goes on after an error, and raises it in the end
            for space in reversed(self._namespaces.values()):
                undo.callback(space.close)
            self._namespaces = {}


def veth(
    one: tuple[Namespace, str],
    other: tuple[Namespace, str],
    *,
    mtu: int = 1500,
    queues: int = 1,
) -> None:
    """Join two namespaces: a veth pair with both ends up, and without offloads.

    With offloads a local sender leaves checksums and segmentation to a NIC that does not exist,
    and a ring in user space sees packets that never could be on a wire.
    """
    sizes = ["mtu", str(mtu), "numtxqueues", str(queues), "numrxqueues", str(queues)]
    (space, name), (peer_space, peer_name) = one, other
    peer = ["peer", "name", peer_name, "netns", peer_space.name, *sizes]
    run("ip", "link", "add", "name", name, "netns", space.name, *sizes, "type", "veth", *peer)
    for end, interface in (one, other):
        end.run("ethtool", "-K", interface, *OFFLOADS_OFF)
        end.ip("link", "set", "dev", interface, "up")


def stop(process: subprocess.Popen[Any]) -> int:
    """End a process we started: SIGTERM, some time, SIGKILL. Returns its exit code."""
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            process.kill()
    code = process.wait()
    for stream in (process.stdin, process.stdout, process.stderr):
        if stream is not None:
            stream.close()
    return code


def pids_in(name: str) -> list[int]:
    """Processes in a namespace; none if there is no such namespace."""
    words = run("ip", "netns", "pids", name, check=False).split()
    return [int(word) for word in words if word.isdigit()]


def end_processes(name: str) -> None:
    """Kill whatever still runs in a namespace of ours: children of what we started."""

    def none_left() -> bool:
        pids = pids_in(name)
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        return not pids

    wait_until(none_left, f"end of the processes in {name}")


def remove_leftovers() -> list[str]:
    """Remove namespaces whose program is gone; returns their names."""
    removed = []
    for path in NETNS_DIR.glob(f"{PREFIX}-*") if NETNS_DIR.is_dir() else ():
        owner = re.match(rf"{PREFIX}-(\d+)-", path.name)
        if owner is None or Path("/proc", owner[1]).exists():
            continue
        end_processes(path.name)
        run("ip", "netns", "delete", path.name, check=False)  # another program may do the same
        removed.append(path.name)
    return removed


def interfaces(space: Namespace) -> Sequence[str]:
    """Names of the interfaces in a namespace."""
    with space.entered():
        return [name for _, name in socket.if_nameindex()]
