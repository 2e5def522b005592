"""A packet generator inside the kernel: live frames of one template, paced, changed at random.

`BPF_PROG_TEST_RUN` with live frames (kernel Documentation/bpf/bpf_prog_run.rst) runs an XDP program
on pages of its own; the program redirects them to an interface, as if they had come from another.
It puts a random number into the last bits of one IPv4 address and, inside a tunnel, of the client's
IPv6 address, so that the frames belong to many bindings. It corrects the header checksum, too.
The kernel uses a page again as the last traveller left it, so every field is written anew.

One system call sends all the time, because the kernel needs some 20 ms to end one. The program does
the pacing: it drops the frames that are not due. A timer's signal ends the call.
"""

from __future__ import annotations

import contextlib
import dataclasses
import errno
import signal
import socket
import struct
from contextlib import ExitStack
from typing import TYPE_CHECKING, Final

from dstmrouter.errors import SystemCallError
from dstmrouter.io.bpf import Map, MapSpec, Program
from dstmrouter.io.bpfasm import Alu, Assembler, Cond, Reg, Size
from dstmrouter.io.liveframes import LiveRun
from dstmrouter.io.owner import Owner
from dstmrouter.io.uapi import BpfHelper, BpfMapType, BpfProgType, XdpAction, XdpMd
from dstmrouter.wire import ether, ipv4, ipv6

if TYPE_CHECKING:
    from collections.abc import Iterator

    from lab.netns import Namespace

VARIANTS_MAX: Final = 1 << 16  # one 16-bit word is varied
FRAMES_MAX: Final = 0x7FFF_FFFF  # of one call, sent or not: minutes
LATE_NS: Final = 200_000  # what was not sent so long after it was due is never sent
_PACE: Final = struct.Struct("=QQQ")  # when the next frame is due, time between two (ns), sent
_NEXT_DUE, _GAP, _SENT = 0, 8, 16
_KEY: Final = -4  # octets from the frame pointer
_RANDOM, _DATA, _STATE = Reg.R6, Reg.R7, Reg.R8
_ADDRESS_WORD: Final = 2  # octets from the start of an address to its last 16 bits
_CLIENT_WORD: Final = 14


@dataclasses.dataclass(frozen=True, slots=True)
class Varied:
    """Where a frame differs from its template; positions in octets from its start."""

    checksum: int
    words: tuple[int, ...]  # last words of addresses, whose varied bits are 0 in the template
    ports: int


def encap_variation() -> Varied:
    """Of a plain IPv4 frame: the destination."""
    at = ether.HEADER_LEN
    dst = at + ipv4.HEADER.fields["dst"][1]  # type: ignore[index]  # a structure has fields
    return Varied(_checksum_at(at), (dst + _ADDRESS_WORD,), at + ipv4.HEADER_LEN)


def decap_variation() -> Varied:
    """Of a frame with IPv4 in IPv6: the inner and the outer source, which belong together."""
    at = ether.HEADER_LEN + ipv6.HEADER_LEN
    src = at + ipv4.HEADER.fields["src"][1]  # type: ignore[index]  # a structure has fields
    client6 = ether.HEADER_LEN + ipv6.HEADER.fields["src"][1]  # type: ignore[index]  # likewise
    words = (src + _ADDRESS_WORD, client6 + _CLIENT_WORD)
    return Varied(_checksum_at(at), words, at + ipv4.HEADER_LEN)


def _checksum_at(header: int) -> int:
    return header + int(ipv4.HEADER.fields["checksum"][1])  # type: ignore[index]  # likewise


class Generator(Owner):
    """Sends variants of `frame` out of an interface of a namespace, from the main thread."""

    def __init__(
        self, space: Namespace, interface: str, frame: bytes, varied: Varied, variants: int
    ) -> None:
        """`variants` is a power of two; the template's varied words have those bits at 0."""
        assert variants <= VARIANTS_MAX, f"{variants} variants"
        assert variants & (variants - 1) == 0, f"{variants} is no power of two"
        self._space = space
        self.frame = frame
        with ExitStack() as undo:
            spec = MapSpec(BpfMapType.ARRAY, 4, _PACE.size, 1)
            self._pace = undo.enter_context(Map.create(spec, "dstm_pace"))
            with space.entered():
                ifindex = socket.if_nametoindex(interface)
                code = assemble(frame, varied, variants - 1, (ifindex, self._pace.fileno()))
                program = Program.load(BpfProgType.XDP, code, "dstm_generate")
            self._live = LiveRun(undo.enter_context(program), frame)
            self._undo = undo.pop_all()

    def send(self, seconds: float, pps: float | None = None) -> int:
        """Send for some time, as fast as the kernel can or at a rate; return how many frames."""
        self._set_pace(0 if pps is None else round(1e9 / pps))
        with self._space.entered(), interrupted_after(seconds):
            self._live.run(FRAMES_MAX)
        return self._sent()

    def send_some(self, count: int) -> None:
        """Send `count` frames at once."""
        self._set_pace(0)
        with self._space.entered():
            self._live.run(count)

    def _set_pace(self, gap_ns: int) -> None:
        self._pace.set(bytes(4), _PACE.pack(0, gap_ns, 0))

    def _sent(self) -> int:
        value = self._pace.get(bytes(4))
        assert value is not None, "an array has all its elements"
        return int(_PACE.unpack(value)[2])


@contextlib.contextmanager
def interrupted_after(seconds: float, again_s: float = 0) -> Iterator[None]:
    """End the block by a signal during a system call; by more, so far apart, if `again_s`."""
    former = signal.signal(signal.SIGALRM, lambda *_: None)
    signal.setitimer(signal.ITIMER_REAL, seconds, again_s)
    try:
        yield
    except SystemCallError as error:
        if error.errno != errno.EINTR:
            raise
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, former)


def assemble(frame: bytes, varied: Varied, mask: int, target: tuple[int, int]) -> bytes:
    """The program: keep the pace, vary the frame, redirect it.

    `target` is the index of the interface and the descriptor of the pace.
    """
    ifindex, pace_fd = target
    asm = Assembler()
    asm.load(Size.U32, _DATA, Reg.R1, XdpMd.DATA)
    asm.load(Size.U32, Reg.R2, Reg.R1, XdpMd.DATA_END)
    asm.mov(Reg.R3, _DATA)
    asm.alu(Alu.ADD, Reg.R3, len(frame))
    asm.jump_if(Reg.R3, Cond.GT, Reg.R2, "drop")
    _keep_pace(asm, pace_fd)
    _vary(asm, frame, varied, mask)
    asm.mov(Reg.R1, ifindex)
    asm.mov(Reg.R2, 0)
    asm.call(BpfHelper.REDIRECT)
    asm.exit()
    asm.label("drop")
    asm.mov(Reg.R0, XdpAction.DROP)
    asm.exit()
    return asm.assemble()


def _keep_pace(asm: Assembler, pace_fd: int) -> None:
    """Drop the frame if it is not due; else count it."""
    asm.store(Size.U32, Reg.R10, _KEY, 0)
    asm.load_map(Reg.R1, pace_fd)
    asm.mov(Reg.R2, Reg.R10)
    asm.alu(Alu.ADD, Reg.R2, _KEY)
    asm.call(BpfHelper.MAP_LOOKUP_ELEM)
    asm.jump_if(Reg.R0, Cond.EQ, 0, "drop")
    asm.mov(_STATE, Reg.R0)
    asm.call(BpfHelper.KTIME_GET_NS)
    asm.load(Size.U64, Reg.R1, _STATE, _NEXT_DUE)
    asm.jump_if(Reg.R1, Cond.GT, Reg.R0, "drop")
    asm.alu(Alu.SUB, Reg.R0, LATE_NS)
    asm.jump_if(Reg.R1, Cond.GE, Reg.R0, "in_time")
    asm.mov(Reg.R1, Reg.R0)
    asm.label("in_time")
    asm.load(Size.U64, Reg.R2, _STATE, _GAP)
    asm.alu(Alu.ADD, Reg.R1, Reg.R2)
    asm.store(Size.U64, _STATE, _NEXT_DUE, Reg.R1)
    asm.load(Size.U64, Reg.R2, _STATE, _SENT)
    asm.alu(Alu.ADD, Reg.R2, 1)
    asm.store(Size.U64, _STATE, _SENT, Reg.R2)


def _vary(asm: Assembler, frame: bytes, varied: Varied, mask: int) -> None:
    """Write all varied fields of the frame at _DATA."""
    asm.call(BpfHelper.GET_PRANDOM_U32)
    asm.mov(_RANDOM, Reg.R0)
    asm.alu(Alu.RSH, Reg.R0, 16)
    asm.store(Size.U16, _DATA, varied.ports, Reg.R0)
    asm.alu(Alu.AND, _RANDOM, mask)
    for at in varied.words:
        word = int.from_bytes(frame[at : at + 2], "big")
        assert word & mask == 0, f"the template's word {word:#06x} at {at} is not 0 below the mask"
        asm.mov(Reg.R1, _RANDOM)
        asm.alu(Alu.ADD, Reg.R1, word)
        _store_big_endian(asm, at)
    _correct_checksum(asm, int.from_bytes(frame[varied.checksum : varied.checksum + 2], "big"))
    _store_big_endian(asm, varied.checksum)


def _correct_checksum(asm: Assembler, template: int) -> None:
    """R1 = the template's checksum, less what was added to the address (RFC 1624)."""
    asm.mov(Reg.R1, template + 0xFFFF)
    asm.alu(Alu.SUB, Reg.R1, _RANDOM)
    asm.mov(Reg.R2, Reg.R1)
    asm.alu(Alu.RSH, Reg.R2, 16)
    asm.alu(Alu.AND, Reg.R1, 0xFFFF)
    asm.alu(Alu.ADD, Reg.R1, Reg.R2)


def _store_big_endian(asm: Assembler, at: int) -> None:
    """Store the low 16 bits of R1 in network order."""
    asm.to_big_endian(Reg.R1, 16)
    asm.store(Size.U16, _DATA, at, Reg.R1)
