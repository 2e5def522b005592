"""A user-mode Linux as a client: another kernel's `ip6tnl` as the far end of the tunnel.

Debian's package `user-mode-linux` is a whole Linux that runs as a process. It has the ip6_tunnel
module, which the machine's own kernel may lack, and it shares nothing with our code. Its root file
system is the host's, so `ip`, `ping` and `curl` are there; what it writes below /run is its own.
"""

from __future__ import annotations

import base64
import os
import select
import shutil
import signal
import subprocess
import tempfile
import time
from pathlib import Path
from typing import IO, TYPE_CHECKING, Final, cast

from dstmrouter.io.owner import Closing
from lab.netns import PATIENCE_S, LabError

if TYPE_CHECKING:
    from lab.netns import Namespace

PROGRAM: Final = "linux.uml"
MODULES: Final = Path("/usr/lib/uml/modules")
INIT: Final = Path(__file__).with_name("uml_init.sh").resolve()
XSTATE: Final = Path(__file__).with_name("uml_xstate.c")
BOOT_TIMEOUT_S: Final = 60.0  # 2 s alone, more on a busy machine
MEMORY_MB: Final = 256


def why_not() -> str | None:
    """Why no user-mode Linux can be started here, or None."""
    if shutil.which(PROGRAM) is None or not any(MODULES.glob("*/kernel/net/ipv6/ip6_tunnel.ko")):
        return "Debian package user-mode-linux is not installed"
    if shutil.which("insmod", path="/usr/sbin:/sbin") is None:
        return "Debian package kmod is not installed"
    if shutil.which("cc") is None:
        return "a C compiler is not installed"
    return None


class Uml(Closing):
    """A running user-mode Linux on one interface of a namespace; a context manager.

    It takes every packet of `interface`, which must have no addresses, and calls it `vec0`.
    """

    def __init__(self, space: Namespace, interface: str) -> None:
        if (reason := why_not()) is not None:
            raise LabError(reason)
        self._scratch = Path(tempfile.mkdtemp(prefix="dstm-uml-"))
        self._scripts = 0
        self._unread = b""
        self._process = self._boot(space, interface)
        try:
            self._read_line(b"READY", BOOT_TIMEOUT_S)
        except LabError:
            self.close()
            raise

    def _boot(self, space: Namespace, interface: str) -> subprocess.Popen[bytes]:
        return space.popen(
            PROGRAM,
            "rootfstype=hostfs",
            "rootflags=/",
            "rw",
            "quiet",
            f"init={INIT}",
            f"mem={MEMORY_MB}M",
            "con=null",
            "con0=fd:0,fd:1",
            f"uml_dir={self._scratch}/",
            f"vec0:transport=raw,ifname={interface},depth=64,gro=0",
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env=os.environ | {"LD_PRELOAD": str(self._xstate_library())},
            start_new_session=True,  # its helpers form one process group, to be ended as one
        )

    def _xstate_library(self) -> Path:
        """Compile what `uml_xstate.c` says the program needs on newer CPUs."""
        library = self._scratch / "xstate.so"
        command = ("cc", "-O2", "-shared", "-fPIC", "-o", library, XSTATE)
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise LabError(f"{XSTATE.name} does not compile:\n{done.stderr}")
        return library

    def run(self, script: str, *, timeout_s: float = PATIENCE_S, check: bool = True) -> str:
        """Run shell commands inside, up to the first that fails; returns what they printed.

        A command for the background must not write to the script's output, or the script lasts
        as long as it does.
        """
        if self._process.poll() is not None:
            raise LabError(f"the user-mode Linux has ended, no answer to: {script}")
        self._scripts += 1  # a new file each time: the guest may cache what it has read
        path = self._scratch / f"{self._scripts}.sh"
        path.write_text(script)
        stdin = cast("IO[bytes]", self._process.stdin)
        stdin.write(f"{path}\n".encode())
        stdin.flush()
        encoded = self._read_line(b"RESULT %s " % bytes(path), timeout_s)
        output, _, code = base64.b64decode(encoded).decode(errors="replace").rpartition("\n")
        if check and code != "0":
            raise LabError(f"in the user-mode Linux: {script}: exit code {code}\n{output}")
        return output

    def address(self, address: str, gateway: str) -> None:
        """Give `vec0` an IPv6 address with prefix length, and a default route."""
        self.run(
            f"ip link set vec0 up\n"
            f"ip -6 address add {address} dev vec0 nodad\n"
            f"ip -6 route add default via {gateway}"
        )

    def tunnel(
        self, client4: str, client6: str, tep6: str, *, encapsulation_limit: int | None = None
    ) -> None:
        """Make `dti0`, an ip6tnl of mode ipip6, with an IPv4 address and default route.

        With an `encapsulation_limit` every packet carries a destination options header
        (RFC 2473 section 4.1.1).
        """
        limit = "none" if encapsulation_limit is None else str(encapsulation_limit)
        self.run(
            f"ip -6 tunnel add dti0 mode ipip6 remote {tep6} local {client6} encaplimit {limit} "
            f"tclass inherit dscp inherit\n"  # RFC 6333 section 7.1
            f"ip link set dti0 up\n"
            f"ip -4 address add {client4}/32 dev dti0\n"
            f"ip -4 route add default dev dti0"
        )

    def _read_line(self, start: bytes, timeout_s: float) -> bytes:
        """Wait for a console line that begins with `start`; returns the rest of it."""
        stdout = cast("IO[bytes]", self._process.stdout).fileno()
        deadline = time.monotonic() + timeout_s
        skipped = b""
        while True:
            line, newline, rest = self._unread.partition(b"\n")
            if newline:
                self._unread = rest
                if line.startswith(start):
                    return line[len(start) :].strip()
                skipped += line + newline
                continue
            left = max(0.0, deadline - time.monotonic())
            ready, _, _ = select.select([stdout], [], [], left)
            more = os.read(stdout, 1 << 16) if ready else b""
            if not more:
                why = "ended" if ready else f"silent for {timeout_s} s"
                said = (skipped + self._unread).decode(errors="replace")
                raise LabError(f"user-mode Linux {why}; its console:\n{said}")
            self._unread += more

    def close(self) -> None:
        """Switch it off; harmless when repeated. Nothing in it wants an orderly end."""
        if self._process.poll() is None:
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        for stream in (self._process.stdin, self._process.stdout):
            cast("IO[bytes]", stream).close()
        shutil.rmtree(self._scratch, ignore_errors=True)
