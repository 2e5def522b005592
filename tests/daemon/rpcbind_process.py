"""A real rpcbind in a namespace, with a /run of its own: its UNIX socket is a path."""

from __future__ import annotations

import contextlib
import shutil
import socket
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from lab.netns import Namespace, stop, wait_until

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Iterator

needs_rpcbind = pytest.mark.skipif(
    shutil.which("rpcbind") is None or shutil.which("rpcinfo") is None,
    reason="needs rpcbind (tools/setup.sh installs it)",
)
START = "mount -t tmpfs none /run && exec rpcbind -f"


class RpcbindProcess:
    """rpcbind, and commands that see its socket."""

    def __init__(self, space: Namespace) -> None:
        self._space = space
        self._process: subprocess.Popen[Any] | None = None
        self.start()

    @property
    def socket(self) -> Path:
        """Its UNIX socket, seen from outside."""
        assert self._process is not None
        return Path(f"/proc/{self._process.pid}/root/run/rpcbind.sock")

    def start(self) -> None:
        self._process = self._space.popen("unshare", "--mount", "sh", "-c", START)
        # Not by rpcinfo: it goes over to UDP while TCP is refused, and then waits for 15 s.
        wait_until(self._listens, "rpcbind")

    def _listens(self) -> bool:
        with self._space.entered(), socket.socket(socket.AF_INET6) as probe:
            return probe.connect_ex(("::1", 111)) == 0

    def stop(self) -> None:
        if self._process is not None:
            stop(self._process)
            self._process = None

    def inside(self, *command: str | Path) -> list[str | Path]:
        """A command line that sees this rpcbind's /run."""
        assert self._process is not None
        return ["nsenter", f"--mount=/proc/{self._process.pid}/ns/mnt", *command]

    def listed(self) -> str:
        """What it has, as `rpcinfo -s` shows."""
        return self._space.run("rpcinfo", "-s", "::1", check=False)

    def knows(self, program: int, version: int) -> list[str]:
        """The netids of a program."""
        for line in self.listed().splitlines():
            words = line.split()
            if words[:1] == [str(program)] and str(version) in words[1].split(","):
                return sorted(words[2].split(","))
        return []


@contextlib.contextmanager
def rpcbind_in(space: Namespace) -> Iterator[RpcbindProcess]:
    process = RpcbindProcess(space)
    try:
        yield process
    finally:
        process.stop()
