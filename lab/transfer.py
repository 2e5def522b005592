"""TCP traffic that can be checked: a file served by HTTP in one namespace, fetched in another."""

from __future__ import annotations

import hashlib
import os
import socket
import subprocess
import sys
from typing import TYPE_CHECKING

from lab.netns import wait_until

if TYPE_CHECKING:
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
