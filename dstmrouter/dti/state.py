"""The claim of a running client on an interface name, and what it leaves if it is killed.

`RUN_DIR/NAME.json` is locked as long as the client lives and holds what a later start needs to know
its remains; `RUN_DIR/NAME.counters` is the mapped file of `dti.counters`. Both are removed by a
clean stop. The lock is one of the open file description (fcntl(2)): it ends with the process, and
unlike flock(2) it can be asked for without being taken.
"""

from __future__ import annotations

import dataclasses
import fcntl
import json
import os
import struct
from contextlib import suppress
from ipaddress import IPv6Address
from pathlib import Path
from typing import Any, Final

from dstmrouter.dti.plan import Ends
from dstmrouter.dti.tunnel import Kind, Tunnel
from dstmrouter.errors import DstmError, SystemCallError

RUN_DIR: Final = Path("/run/dstm-client")
FLOCK: Final = struct.Struct("hhqqi4x")  # type, whence, start, len (0: to the end), pid (0: of ofd)


@dataclasses.dataclass(frozen=True, slots=True)
class State:
    """What a client says of itself; `netns` is the inode of its network namespace."""

    pid: int
    netns: int
    kind: Kind
    ends: Ends
    client4: str
    port_set: str | None  # offset/length/PSID; None: the whole address

    @classmethod
    def of_this_process(cls, tunnel: Tunnel, kind: Kind) -> State:
        """The state of this process, about to make `tunnel`."""
        ends = Ends(tunnel.client6, tunnel.tep6, tunnel.interface, tunnel.encap_limit)
        ports = None if tunnel.port_set is None else str(tunnel.port_set)
        return cls(os.getpid(), this_netns(), kind, ends, str(tunnel.client4), ports)

    def encode(self) -> str:
        """As JSON."""
        return json.dumps(dataclasses.asdict(self), default=str)

    @classmethod
    def decode(cls, text: str) -> State | None:
        """From JSON; None if a killed client left half a file, or another version another form."""
        try:
            fields: dict[str, Any] = json.loads(text)
            ends = fields["ends"]
            return cls(
                int(fields["pid"]),
                int(fields["netns"]),
                Kind(fields["kind"]),
                Ends(
                    IPv6Address(ends["client6"]),
                    IPv6Address(ends["tep6"]),
                    ends["interface"],
                    bool(ends["encap_limit"]),
                ),
                str(fields["client4"]),
                fields.get("port_set"),
            )
        except (ValueError, KeyError, TypeError):
            return None


class Claim:
    """The lock on one interface name; `former` is what a killed client left, if anything."""

    def __init__(self, run_dir: Path, name: str) -> None:
        self._path = run_dir / f"{name}.json"
        self.counters = run_dir / f"{name}.counters"
        try:
            run_dir.mkdir(parents=True, exist_ok=True)
            self._fd = _lock(self._path)
        except BlockingIOError:
            raise DstmError(f"{name} is in use by another dstm-client ({self._path})") from None
        except OSError as error:
            tried = f"lock {self._path}"
            raise SystemCallError(tried, error.errno or 0, error.strerror or "") from error
        self.former = State.decode(self._path.read_text())

    def write(self, state: State) -> None:
        """Say what is about to be made, before it is made."""
        os.ftruncate(self._fd, 0)
        os.pwrite(self._fd, state.encode().encode(), 0)

    def release(self) -> None:
        """Nothing is left: remove the files and unlock."""
        self.counters.unlink(missing_ok=True)
        self._path.unlink(missing_ok=True)  # before the lock goes, see `_lock`
        os.close(self._fd)


def read_state(run_dir: Path, name: str) -> tuple[State | None, bool]:
    """What is written for `name`, and whether its client lives."""
    path = run_dir / f"{name}.json"
    try:
        with path.open() as file:
            asked = fcntl.fcntl(file, fcntl.F_OFD_GETLK, FLOCK.pack(fcntl.F_WRLCK, 0, 0, 0, 0))
            return State.decode(file.read()), FLOCK.unpack(asked)[0] != fcntl.F_UNLCK
    except FileNotFoundError:
        return None, False


def this_netns() -> int:
    """Number of this process's network namespace."""
    return Path("/proc/self/ns/net").stat().st_ino


def _lock(path: Path) -> int:
    """Open and lock `path`; BlockingIOError if another process has it."""
    while True:
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            fcntl.fcntl(fd, fcntl.F_OFD_SETLK, FLOCK.pack(fcntl.F_WRLCK, 0, 0, 0, 0))
        except OSError:
            os.close(fd)
            raise
        with suppress(FileNotFoundError):
            if path.stat().st_ino == os.fstat(fd).st_ino:
                return fd
        os.close(fd)  # its owner removed it between our open and our lock
