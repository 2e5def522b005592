"""TCP traffic that can be checked: a file served by HTTP in one namespace, fetched in another."""

from __future__ import annotations

import hashlib
import os
import socket
import subprocess
import sys
import threading
from typing import TYPE_CHECKING, Final, Self, cast

from lab.netns import stop, wait_until

if TYPE_CHECKING:
    import io
    from pathlib import Path

    from lab.netns import Namespace


def random_file(path: Path, size: int) -> str:
    """Write `size` random octets to `path`; returns their SHA-256."""
    content = os.urandom(size)
    path.write_bytes(content)
    return hashlib.sha256(content).hexdigest()


def sha256(path: Path) -> str:
    """SHA-256 of a file."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def serve(space: Namespace, directory: Path, address: str, port: int = 8080) -> str:
    """Serve the files of `directory` at an address of the namespace until the lab ends.

    Returns the URL of the directory, once connections are accepted.
    """
    module = [sys.executable, "-m", "http.server", "--bind", address, "--directory", str(directory)]
    silent = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    space.popen(*module, str(port), **silent)

    def accepts() -> bool:
        with space.entered():
            try:
                socket.create_connection((address, port), timeout=1).close()
            except OSError:
                return False
        return True

    wait_until(accepts, f"HTTP server at {address} port {port}")
    return f"http://[{address}]:{port}" if ":" in address else f"http://{address}:{port}"


def download(space: Namespace, url: str, path: Path, timeout_s: float = 60) -> str:
    """Fetch a file from within the namespace; returns its SHA-256."""
    options = ["--silent", "--show-error", "--fail", "--noproxy", "*"]
    limit = ["--max-time", str(timeout_s), "--output", str(path)]
    space.run("curl", *options, *limit, url, timeout_s=timeout_s + 5)
    return sha256(path)


class SlowDownload:
    """A download that lasts as long as its user wants, by TCP's flow control; a context manager.

    Its reader takes a little at a time until `finish`, then all.
    """

    PIECE: Final = 16 << 10  # octets
    PAUSE_S: Final = 0.05

    def __init__(self, space: Namespace, url: str) -> None:
        self.command = ["curl", "-sS", "-f", "--noproxy", "*", url]
        self.received = 0
        self.complete = False
        self._hurry = threading.Event()
        self._digest = hashlib.sha256()
        self._process = space.popen(*self.command, stdout=subprocess.PIPE)
        self._thread = threading.Thread(target=self._read)
        self._thread.start()

    def _read(self) -> None:
        with cast("io.BufferedReader", self._process.stdout) as stream:
            while piece := stream.read1(self.PIECE):
                self._digest.update(piece)
                self.received += len(piece)
                self._hurry.wait(self.PAUSE_S)
        self.complete = True

    def finish(self) -> str:
        """Read the rest at once; the SHA-256 of everything that came."""
        self._hurry.set()
        self._thread.join()
        self._process.wait()
        return self._digest.hexdigest()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._hurry.set()
        self._process.terminate()  # harmless when it has ended
        self._thread.join()
        stop(self._process)
