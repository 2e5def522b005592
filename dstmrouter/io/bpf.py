"""The bpf(2) system call: maps, programs and links, each owning one file descriptor.

What the kernel refuses becomes a `SystemCallError` that says what was tried; what its verifier
refuses becomes a `BpfVerifierError` with the verifier's report. Numbers are those of x86-64.
"""

from __future__ import annotations

import ctypes
import errno
import mmap
import os
import struct
from typing import TYPE_CHECKING, Final, NamedTuple, Self, TypeAlias

from dstmrouter.errors import BpfVerifierError, DstmError, SystemCallError, asking_kernel
from dstmrouter.io.owner import Closing
from dstmrouter.io.uapi import (
    BPF_ANY,
    BPF_OBJ_NAME_LEN,
    BpfAttachType,
    BpfCommand,
    BpfMapType,
    BpfProgType,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

SYS_BPF: Final = 321  # arch/x86/entry/syscalls/syscall_64.tbl
LOG_LEN: Final = 1 << 20  # octets for the verifier's report; our programs need a few thousand
MAX_FRAME_OUT: Final = 1 << 16  # octets a test run may give back

# union bpf_attr of bpf.h: one format for each command, fields that stay zero as padding.
_MAP_CREATE: Final = struct.Struct(f"=IIIII8x{BPF_OBJ_NAME_LEN}s")  # MapSpec, name
_MAP_ELEM: Final = struct.Struct("=i4xQQQ")  # fd, key, value or next key, flags
_PROG_LOAD: Final = (
    struct.Struct(  # type, instructions, code, licence, log level, length, log, name
        f"=IIQQIIQ8x{BPF_OBJ_NAME_LEN}s8x"
    )
)
_TEST_RUN: Final = struct.Struct("=iIIIQQI40x")  # fd, result, length in, out, data in, out, repeat
_LINK_CREATE: Final = struct.Struct("=iIII32x")  # program, interface, attach type, flags
_INFO: Final = struct.Struct("=iIQ")  # fd, length, address
_MAP_INFO: Final = struct.Struct("=IIIII")  # the start of struct bpf_map_info

Buffer: TypeAlias = ctypes.Array[ctypes.c_char]

_libc = ctypes.CDLL(None, use_errno=True)
_libc.syscall.restype = ctypes.c_long


def _bpf(command: BpfCommand, attributes: Buffer) -> int:
    """Return the system call's result, or -errno."""
    size = ctypes.c_uint(len(attributes))
    result: int = _libc.syscall(SYS_BPF, ctypes.c_int(command), attributes, size)
    return result if result >= 0 else -ctypes.get_errno()


def bpf_call(command: BpfCommand, attributes: Buffer) -> Callable[[], int]:
    """The system call, ready to be made again and again; it returns 0 or an errno."""
    arguments = SYS_BPF, ctypes.c_int(command), attributes, ctypes.c_uint(len(attributes))
    syscall = _libc.syscall

    def call() -> int:
        return ctypes.get_errno() if syscall(*arguments) < 0 else 0

    return call


def _call(tried: str, command: BpfCommand, attributes: bytes) -> int:
    """Return the system call's result; raise SystemCallError for what it refuses."""
    result = _bpf(command, ctypes.create_string_buffer(attributes, len(attributes)))
    if result < 0:
        raise SystemCallError(tried, -result, os.strerror(-result))
    return result


class BpfObject(Closing):
    """Owner of one descriptor; the kernel drops the object when the last one is closed."""

    def __init__(self, fd: int) -> None:
        self._fd = fd

    def fileno(self) -> int:
        """The descriptor; -1 after `close`."""
        return self._fd

    def close(self) -> None:
        """Close the descriptor; harmless when repeated."""
        fd, self._fd = self._fd, -1
        if fd >= 0:
            os.close(fd)


class MapSpec(NamedTuple):
    """What a map is made of; lengths in octets."""

    kind: BpfMapType
    key_len: int
    value_len: int
    max_entries: int
    flags: int = 0


class Map(BpfObject):
    """A map with keys and values of fixed length, seen as bytes."""

    def __init__(self, fd: int, spec: MapSpec, name: str) -> None:
        super().__init__(fd)
        self.spec = spec
        self.name = name

    @classmethod
    def create(cls, spec: MapSpec, name: str) -> Self:
        """Make a new, empty map; `name` has at most 15 letters, digits, underscores."""
        attributes = _MAP_CREATE.pack(*spec, name.encode())
        fd = _call(f"create BPF map {name} ({spec.kind.name})", BpfCommand.MAP_CREATE, attributes)
        return cls(fd, spec, name)

    @classmethod
    def from_fd(cls, fd: int, name: str) -> Self:
        """Own a map's descriptor that another process handed down."""
        info = ctypes.create_string_buffer(_MAP_INFO.size)
        attributes = _INFO.pack(fd, len(info), ctypes.addressof(info))
        _call(f"inspect BPF map {name} at fd {fd}", BpfCommand.OBJ_GET_INFO_BY_FD, attributes)
        kind, _, key_len, value_len, max_entries = _MAP_INFO.unpack(info.raw)
        try:
            spec = MapSpec(BpfMapType(kind), key_len, value_len, max_entries)
        except ValueError:
            raise DstmError(f"fd {fd} is a BPF map of type {kind}, not {name}") from None
        return cls(fd, spec, name)

    def get(self, key: bytes) -> bytes | None:
        """The value at `key`, or None."""
        value = ctypes.create_string_buffer(self.spec.value_len)
        return value.raw if self._found("look up", BpfCommand.MAP_LOOKUP_ELEM, key, value) else None

    def set(self, key: bytes, value: bytes) -> None:
        """Write the value at `key`."""
        assert len(value) == self.spec.value_len, f"value of {len(value)} octets"
        buffer = ctypes.create_string_buffer(value, len(value))
        self._element("set", BpfCommand.MAP_UPDATE_ELEM, key, buffer)

    def delete(self, key: bytes) -> bool:
        """Remove `key`; False if it was not there."""
        return self._found("delete", BpfCommand.MAP_DELETE_ELEM, key, None)

    def keys(self) -> Iterator[bytes]:
        """All keys; the map must not change meanwhile."""
        key: bytes | None = None
        following = ctypes.create_string_buffer(self.spec.key_len)
        while self._found("list", BpfCommand.MAP_GET_NEXT_KEY, key, following):
            key = following.raw
            yield key

    def memory(self, octets: int) -> mmap.mmap:
        """The first `octets` of the value of an array of one element, as the program sees them.

        The array must have been made with BPF_F_MMAPABLE.
        """
        with asking_kernel(f"map {octets} octets of BPF map {self.name}"):
            return mmap.mmap(self._fd, octets)

    def _found(
        self, verb: str, command: BpfCommand, key: bytes | None, value: Buffer | None
    ) -> bool:
        """Run a command on one element; False if there is none."""
        try:
            self._element(verb, command, key, value)
        except SystemCallError as error:
            if error.errno != errno.ENOENT:
                raise
            return False
        return True

    def _element(
        self, verb: str, command: BpfCommand, key: bytes | None, value: Buffer | None
    ) -> None:
        """Run a command on one element."""
        assert key is None or len(key) == self.spec.key_len, f"key {key!r} of the wrong length"
        at = None if key is None else ctypes.create_string_buffer(key, len(key))
        attributes = _MAP_ELEM.pack(self._fd, address_of(at), address_of(value), BPF_ANY)
        what = "keys" if key is None else key.hex()
        _call(f"{verb} {what} in BPF map {self.name}", command, attributes)


class RunResult(NamedTuple):
    """What a program made of one packet: its return value, and the frame afterwards."""

    action: int
    frame: bytes


class Program(BpfObject):
    """A loaded program."""

    @classmethod
    def load(cls, kind: BpfProgType, code: bytes, name: str, license_text: str = "") -> Self:
        """Hand the program to the verifier.

        `license_text` matters only to programs that call helpers reserved for GPL code.
        """
        fd = _load(kind, code, name, license_text, None)
        if fd >= 0:
            return cls(fd)
        log = ctypes.create_string_buffer(LOG_LEN)  # only now: the report slows loading down
        fd = _load(kind, code, name, license_text, log)
        if fd >= 0:
            return cls(fd)
        tried, reason = f"load BPF program {name} ({kind.name})", os.strerror(-fd)
        report = log.value.decode(errors="replace").strip()
        if report:
            raise BpfVerifierError(tried, -fd, reason, report)
        raise SystemCallError(tried, -fd, reason)

    def run(self, frame: bytes) -> RunResult:
        """Run the program once on `frame` (Ethernet header first, at least 14 octets)."""
        data = ctypes.create_string_buffer(frame, len(frame))
        out = ctypes.create_string_buffer(MAX_FRAME_OUT)
        asked = _TEST_RUN.pack(
            self._fd, 0, len(frame), len(out), address_of(data), address_of(out), 1
        )
        attributes = ctypes.create_string_buffer(asked, len(asked))
        result = _bpf(BpfCommand.PROG_TEST_RUN, attributes)
        if result < 0:
            tried = f"run BPF program on a frame of {len(frame)} octets"
            raise SystemCallError(tried, -result, os.strerror(-result))
        _, action, _, out_len, *_ = _TEST_RUN.unpack(attributes.raw)
        return RunResult(ctypes.c_int32(action).value, out.raw[:out_len])


class Link(BpfObject):
    """A program's attachment; the kernel detaches when the descriptor is closed."""

    @classmethod
    def create(
        cls, tried: str, program: Program, ifindex: int, kind: BpfAttachType, flags: int = 0
    ) -> Self:
        """Attach `program` to an interface; `tried` names the attempt in errors."""
        attributes = _LINK_CREATE.pack(program.fileno(), ifindex, kind, flags)
        return cls(_call(tried, BpfCommand.LINK_CREATE, attributes))


def _load(
    kind: BpfProgType,
    code: bytes,
    name: str,
    license_text: str,
    log: Buffer | None,
) -> int:
    """Return the program's descriptor, or -errno with the verifier's report in `log`."""
    text = ctypes.create_string_buffer(license_text.encode())
    instructions = ctypes.create_string_buffer(code, len(code))
    attributes = _PROG_LOAD.pack(
        kind,
        len(code) // 8,
        address_of(instructions),
        address_of(text),
        0 if log is None else 1,
        0 if log is None else len(log),
        address_of(log),
        name.encode(),
    )
    buffer = ctypes.create_string_buffer(attributes, len(attributes))
    return _bpf(BpfCommand.PROG_LOAD, buffer)


def address_of(buffer: Buffer | None) -> int:
    """Where a buffer is, for the kernel; 0 for none."""
    return 0 if buffer is None else ctypes.addressof(buffer)
