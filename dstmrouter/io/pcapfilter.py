"""Filter expressions as tcpdump has them, compiled to classic BPF by libpcap.

libpcap (Debian package libpcap0.8, which tcpdump brings along) is only loaded when there is an
expression to compile. It looks up host names where an expression has some, which may take a while.
"""

from __future__ import annotations

import ctypes
from typing import TYPE_CHECKING, Final

from dstmrouter.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Sequence

LIBRARIES: Final = ("libpcap.so.0.8", "libpcap.so.1")  # Debian's name, and everybody else's
EXPRESSION_MAX: Final = 4096  # characters; nobody types more
_LINKTYPE_ETHERNET: Final = 1
_SNAPLEN: Final = 65535
_OPTIMIZE: Final = 1
_NETMASK_UNKNOWN: Final = 0xFFFFFFFF
_INSTRUCTION_SIZE: Final = 8


class _Program(ctypes.Structure):
    """struct bpf_program of pcap/bpf.h."""

    _fields_ = [
        ("length", ctypes.c_uint),
        ("instructions", ctypes.c_void_p),
    ]


def compile_filter(expression: str, libraries: Sequence[str] = LIBRARIES) -> bytes:
    """The classic BPF program of an expression over Ethernet frames, 8 octets an instruction.

    Raises ConfigError for an expression that libpcap refuses, with its reason, and without libpcap.
    """
    if len(expression) > EXPRESSION_MAX or "\0" in expression:
        raise ConfigError(f"filter of {len(expression)} characters: at most {EXPRESSION_MAX}")
    library = _load(libraries)
    handle = library.pcap_open_dead(_LINKTYPE_ETHERNET, _SNAPLEN)
    program = _Program()
    try:
        if library.pcap_compile(
            handle, ctypes.byref(program), expression.encode(), _OPTIMIZE, _NETMASK_UNKNOWN
        ):
            reason = library.pcap_geterr(handle).decode(errors="replace")
            raise ConfigError(f"filter {expression!r}: {reason}")
        code = ctypes.string_at(program.instructions, program.length * _INSTRUCTION_SIZE)
        library.pcap_freecode(ctypes.byref(program))
    finally:
        library.pcap_close(handle)
    return code


def _load(libraries: Sequence[str]) -> ctypes.CDLL:
    for name in libraries:
        try:
            library = ctypes.CDLL(name)
        except OSError:
            continue
        library.pcap_open_dead.restype = ctypes.c_void_p
        library.pcap_geterr.restype = ctypes.c_char_p
        library.pcap_geterr.argtypes = library.pcap_close.argtypes = [ctypes.c_void_p]
        library.pcap_freecode.argtypes = [ctypes.POINTER(_Program)]
        library.pcap_compile.argtypes = [
            ctypes.c_void_p,
            ctypes.POINTER(_Program),
            ctypes.c_char_p,
            ctypes.c_int,
            ctypes.c_uint32,
        ]
        return library
    raise ConfigError("filters need libpcap (Debian: apt install libpcap0.8)")
