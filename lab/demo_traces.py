"""What a demo must not leave behind: namespaces, processes, BPF programs, files."""

from __future__ import annotations

import ctypes
import dataclasses
import errno
import os
import re
import struct
from pathlib import Path
from typing import TYPE_CHECKING, Final

from lab.netns import NETNS_DIR, pids_in

if TYPE_CHECKING:
    from collections.abc import Iterable

SYS_BPF: Final = 321  # arch/x86/entry/syscalls/syscall_64.tbl
GET_FD_BY_ID: Final = {"prog": 13, "map": 14, "link": 30}  # linux/bpf.h: enum bpf_cmd
_ID: Final = struct.Struct("=I12x")  # union bpf_attr of these commands: the number, rest zero

_libc = ctypes.CDLL(None, use_errno=True)


@dataclasses.dataclass(slots=True)
class Traces:
    """What there was; asked again in the end, everything must be gone."""

    namespaces: set[str] = dataclasses.field(default_factory=set)
    pids: set[int] = dataclasses.field(default_factory=set)
    bpf: set[tuple[str, int]] = dataclasses.field(default_factory=set)  # kind, number
    paths: set[Path] = dataclasses.field(default_factory=set)

    def note(self, namespaces: Iterable[str]) -> None:
        """Add these namespaces, all processes in them, and the BPF objects that these hold."""
        for name in namespaces:
            self.namespaces.add(name)
            for pid in pids_in(name):
                self.pids.add(pid)
                self.bpf |= bpf_objects_of(pid)

    def processes_left(self) -> list[str]:
        """Processes that still run, with their command lines."""
        return [f"{pid}: {line}" for pid in sorted(self.pids) if (line := _command_line(pid))]

    def bpf_left(self) -> list[str]:
        """BPF objects that the kernel still has."""
        return [f"{kind} {number}" for kind, number in sorted(self.bpf) if bpf_lives(kind, number)]

    def namespaces_left(self) -> list[str]:
        """Namespaces that are still there."""
        return [name for name in sorted(self.namespaces) if (NETNS_DIR / name).exists()]

    def left(self) -> list[str]:
        """Everything that is still there, in words."""
        paths = [str(path) for path in sorted(self.paths) if path.exists()]
        return self.processes_left() + self.bpf_left() + self.namespaces_left() + paths


def bpf_objects_of(pid: int) -> set[tuple[str, int]]:
    """Kind and number of the BPF programs, maps and links that a process has open."""
    found: set[tuple[str, int]] = set()
    try:
        descriptors = list(Path(f"/proc/{pid}/fdinfo").iterdir())
    except OSError:  # it ended meanwhile
        return found
    for descriptor in descriptors:
        try:
            text = descriptor.read_text()
        except OSError:
            continue
        ids = re.findall(r"^(prog|map|link)_id:\s+(\d+)$", text, re.MULTILINE)
        found |= {(kind, int(number)) for kind, number in ids}
    return found


def bpf_lives(kind: str, number: int) -> bool:
    """Whether the kernel has the object: numbers are not used again for a long time."""
    attributes = ctypes.create_string_buffer(_ID.pack(number), _ID.size)
    command, size = ctypes.c_int(GET_FD_BY_ID[kind]), ctypes.c_uint(_ID.size)
    descriptor = _libc.syscall(SYS_BPF, command, attributes, size)
    if descriptor < 0:
        if (number_of_error := ctypes.get_errno()) != errno.ENOENT:
            raise OSError(number_of_error, f"bpf: get {kind} {number}")
        return False
    os.close(descriptor)
    return True


def _command_line(pid: int) -> str:
    """The command of a running process; empty for one that is gone or a zombie."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_text().replace("\0", " ").strip()
    except OSError:
        return ""
