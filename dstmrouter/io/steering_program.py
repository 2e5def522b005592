"""The instructions of the steering program: which frames are the router's.

- IPv6 to one of our tunnel end points with next header 4 (the tunnel), 44, 60 or 0 (which may lead
  to it), or ICMPv6 types 1-4 (errors about the tunnel). Echo, ND and all else stay the kernel's.
- IPv4 to a pool prefix.

One source, three flavours that differ in how they find the frame and in what they do with ours:
`Xdp` redirects to the AF_XDP socket of the receiving queue, `Tc` drops, `Filter` lets a packet
socket have it. Frames to a group MAC address are not forwarded (RFC 1812 section 5.3.4), and
truncated ones are left to the kernel to count.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Final, TypeAlias

from dstmrouter.io.bpfasm import Alu, Assembler, Cond, Reg, Size
from dstmrouter.io.uapi import BpfHelper, SkBuff, TcAction, XdpAction, XdpMd

if TYPE_CHECKING:
    from collections.abc import Sequence

# Octets; the positions of the few header fields that the program reads.
_ETHER_LEN, _ETHERTYPE = 14, 12
_TAG_LEN, _TAG_ETHERTYPE, _VID_MASK = 4, 2, 0x0FFF
_IPV6_LEN, _NEXT_HEADER, _IPV6_DST = 40, 6, 24
_IPV4_LEN, _IPV4_DST = 20, 16
_DEEPEST: Final = _ETHER_LEN + _TAG_LEN + _IPV6_LEN + 1  # up to the ICMPv6 type

_TUNNEL_HEADERS: Final = (4, 44, 60, 0)  # IPv4, fragment, destination options, hop-by-hop
_ICMPV6, _FIRST_ERROR, _LAST_ERROR = 58, 1, 4  # RFC 4443 section 2.1

# The program's own registers. _END is an address where the kernel lends us the frame itself, and
# the number of octets from _DATA on where we have a copy.
_DATA, _END, _TYPE, _CONTEXT = Reg.R6, Reg.R7, Reg.R8, Reg.R9
_COPY_AT: Final = -70  # below the frame pointer: puts the IP header at a multiple of eight
assert sys.byteorder == "little"


def _wire16(value: int) -> int:
    """What a 16-bit load sees where `value` is on the wire."""
    return int.from_bytes(value.to_bytes(2, "big"), "little")


_ETHERTYPE_IPV4: Final = _wire16(0x0800)
_ETHERTYPE_IPV6: Final = _wire16(0x86DD)
_ETHERTYPE_VLAN: Final = _wire16(0x8100)


class _Lent:
    """A frame in the kernel's memory, between _DATA and _END."""

    def need(self, asm: Assembler, octets: int) -> None:
        """Pass frames that end before `octets` from here; the verifier demands it too."""
        asm.mov(Reg.R2, _DATA)
        asm.alu(Alu.ADD, Reg.R2, octets)
        asm.jump_if(Reg.R2, Cond.GT, _END, "not_ours")

    def advance(self, asm: Assembler, octets: int) -> None:
        """Step over a header that is all there."""
        asm.alu(Alu.ADD, _DATA, octets)


class Xdp(_Lent):
    """Where an XDP program finds the frame, and what it does with it."""

    def __init__(self, xskmap_fd: int) -> None:
        self._xskmap_fd = xskmap_fd

    def enter(self, asm: Assembler) -> None:
        """Point _DATA at the frame and _END behind it."""
        asm.load(Size.U32, _DATA, _CONTEXT, XdpMd.DATA)
        asm.load(Size.U32, _END, _CONTEXT, XdpMd.DATA_END)

    def offloaded_tag(self, asm: Assembler, vlans: Vlans) -> None:
        """No tag is anywhere but in the frame."""

    def ours(self, asm: Assembler) -> None:
        """Redirect to the queue's socket; without one, hand the frame to the kernel."""
        asm.load_map(Reg.R1, self._xskmap_fd)
        asm.load(Size.U32, Reg.R2, _CONTEXT, XdpMd.RX_QUEUE_INDEX)
        asm.mov(Reg.R3, XdpAction.PASS)
        asm.call(BpfHelper.REDIRECT_MAP)
        asm.exit()

    def not_ours(self, asm: Assembler) -> None:
        """Hand the frame to the kernel."""
        asm.mov(Reg.R0, XdpAction.PASS)
        asm.exit()


class Tc(_Lent):
    """The same for a TC program, which sees socket buffers."""

    def enter(self, asm: Assembler) -> None:
        """Have the headers in the linear part: some drivers leave all octets in page fragments."""
        self._load_bounds(asm)
        asm.mov(Reg.R1, _DATA)
        asm.alu(Alu.ADD, Reg.R1, _DEEPEST)
        asm.jump_if(Reg.R1, Cond.LE, _END, "linear")
        asm.mov(Reg.R1, _CONTEXT)
        asm.mov(Reg.R2, _DEEPEST)
        asm.call(BpfHelper.SKB_PULL_DATA)  # fails on a shorter packet, whose ends are checked below
        self._load_bounds(asm)
        asm.label("linear")

    def offloaded_tag(self, asm: Assembler, vlans: Vlans) -> None:
        """The kernel has usually moved the tag from the frame to the socket buffer."""
        _read_offloaded_tag(asm, vlans)

    def ours(self, asm: Assembler) -> None:
        """Drop the kernel's original; the packet socket has its copy."""
        asm.mov(Reg.R0, TcAction.SHOT)
        asm.exit()

    def not_ours(self, asm: Assembler) -> None:
        """Let the next program or filter decide, then the kernel."""
        asm.mov(Reg.R0, TcAction.UNSPEC)
        asm.exit()

    def _load_bounds(self, asm: Assembler) -> None:
        asm.load(Size.U32, _DATA, _CONTEXT, SkBuff.DATA)
        asm.load(Size.U32, _END, _CONTEXT, SkBuff.DATA_END)


class Filter:
    """The same for the filter of a packet socket, which may not look into the frame itself."""

    def enter(self, asm: Assembler) -> None:
        """Copy the headers to the stack; what a shorter frame does not fill is zero."""
        for offset in range(-72, -8, 8):
            asm.store(Size.U64, Reg.R10, offset, 0)
        asm.load(Size.U32, _END, _CONTEXT, SkBuff.LEN)
        asm.jump_if(_END, Cond.LT, _ETHER_LEN, "not_ours")
        asm.jump_if(_END, Cond.LE, _DEEPEST, "short")
        asm.mov(_END, _DEEPEST)
        asm.label("short")
        asm.mov(_DATA, Reg.R10)
        asm.alu(Alu.ADD, _DATA, _COPY_AT)
        asm.mov(Reg.R1, _CONTEXT)
        asm.mov(Reg.R2, 0)
        asm.mov(Reg.R3, _DATA)
        asm.mov(Reg.R4, _END)
        asm.call(BpfHelper.SKB_LOAD_BYTES)
        asm.jump_if(Reg.R0, Cond.NE, 0, "not_ours")

    def need(self, asm: Assembler, octets: int) -> None:
        """Leave frames with fewer octets from here to the kernel."""
        asm.jump_if(_END, Cond.LT, octets, "not_ours")

    def advance(self, asm: Assembler, octets: int) -> None:
        """Step over a header that is all there."""
        asm.alu(Alu.ADD, _DATA, octets)
        asm.alu(Alu.SUB, _END, octets)

    def offloaded_tag(self, asm: Assembler, vlans: Vlans) -> None:
        """As for TC."""
        _read_offloaded_tag(asm, vlans)

    def ours(self, asm: Assembler) -> None:
        """Keep all octets of the frame."""
        asm.mov(Reg.R0, -1)
        asm.exit()

    def not_ours(self, asm: Assembler) -> None:
        """Keep none: the socket does not get it."""
        asm.mov(Reg.R0, 0)
        asm.exit()


Flavour: TypeAlias = Xdp | Tc | Filter
Vlans: TypeAlias = "Sequence[int | None]"
"""802.1Q VIDs whose frames are ours; None stands for frames without a tag or with VID 0."""


def assemble(flavour: Flavour, tep6_fd: int, pools_fd: int, vlans: Vlans) -> bytes:
    """The program for one interface, looking into the sets with these descriptors."""
    asm = Assembler()
    asm.mov(_CONTEXT, Reg.R1)
    flavour.enter(asm)
    _read_ethernet(asm, flavour)
    flavour.offloaded_tag(asm, vlans)
    _read_tag(asm, flavour, vlans)
    asm.label("by_ethertype")
    asm.jump_if(_TYPE, Cond.EQ, _ETHERTYPE_IPV4, "ipv4")
    asm.jump_if(_TYPE, Cond.NE, _ETHERTYPE_IPV6, "not_ours")
    _match_ipv6(asm, flavour, tep6_fd)
    asm.label("ipv4")
    _match_ipv4(asm, flavour, pools_fd)
    asm.label("ours")
    flavour.ours(asm)
    asm.label("not_ours")
    flavour.not_ours(asm)
    return asm.assemble()


def _read_ethernet(asm: Assembler, flavour: Flavour) -> None:
    """Step over the header, its ethertype in _TYPE."""
    flavour.need(asm, _ETHER_LEN)
    asm.load(Size.U8, Reg.R1, _DATA, 0)
    asm.jump_if(Reg.R1, Cond.ANY_BIT, 1, "not_ours")  # the group bit of the destination
    asm.load(Size.U16, _TYPE, _DATA, _ETHERTYPE)
    flavour.advance(asm, _ETHER_LEN)


def _read_offloaded_tag(asm: Assembler, vlans: Vlans) -> None:
    """Decide by the tag of the socket buffer, if it has one."""
    asm.load(Size.U32, Reg.R1, _CONTEXT, SkBuff.VLAN_PRESENT)
    asm.jump_if(Reg.R1, Cond.EQ, 0, "in_frame")
    asm.load(Size.U32, Reg.R1, _CONTEXT, SkBuff.VLAN_PROTO)
    asm.jump_if(Reg.R1, Cond.NE, _ETHERTYPE_VLAN, "not_ours")
    asm.load(Size.U32, Reg.R1, _CONTEXT, SkBuff.VLAN_TCI)
    _pass_other_vlans(asm, vlans, "by_ethertype")
    asm.jump("by_ethertype")  # a second tag, still in the frame, is no ethertype of ours
    asm.label("in_frame")


def _read_tag(asm: Assembler, flavour: Flavour, vlans: Vlans) -> None:
    """Step over a tag in the frame, the ethertype behind it in _TYPE."""
    asm.jump_if(_TYPE, Cond.NE, _ETHERTYPE_VLAN, "untagged")
    flavour.need(asm, _TAG_LEN)
    asm.load(Size.U16, Reg.R1, _DATA, 0)
    asm.to_big_endian(Reg.R1, 16)
    _pass_other_vlans(asm, vlans, "our_tag")
    asm.label("our_tag")
    asm.load(Size.U16, _TYPE, _DATA, _TAG_ETHERTYPE)
    flavour.advance(asm, _TAG_LEN)
    asm.jump("by_ethertype")
    asm.label("untagged")
    if None not in vlans:
        asm.jump("not_ours")


def _pass_other_vlans(asm: Assembler, vlans: Vlans, ours: str) -> None:
    """Pass unless the tag control information in R1 names a VLAN of ours; on then, or to `ours`."""
    *others, last = [0 if vlan is None else vlan for vlan in vlans]
    asm.alu(Alu.AND, Reg.R1, _VID_MASK)
    for vid in others:
        asm.jump_if(Reg.R1, Cond.EQ, vid, ours)
    asm.jump_if(Reg.R1, Cond.NE, last, "not_ours")


def _match_ipv6(asm: Assembler, flavour: Flavour, tep6_fd: int) -> None:
    """Decide about the IPv6 packet at _DATA."""
    flavour.need(asm, _IPV6_LEN)
    asm.load(Size.U8, Reg.R1, _DATA, _NEXT_HEADER)
    for header in _TUNNEL_HEADERS:
        asm.jump_if(Reg.R1, Cond.EQ, header, "to_tep6")
    asm.jump_if(Reg.R1, Cond.NE, _ICMPV6, "not_ours")
    flavour.need(asm, _IPV6_LEN + 1)
    asm.load(Size.U8, Reg.R1, _DATA, _IPV6_LEN)
    asm.jump_if(Reg.R1, Cond.LT, _FIRST_ERROR, "not_ours")
    asm.jump_if(Reg.R1, Cond.GT, _LAST_ERROR, "not_ours")
    asm.label("to_tep6")
    asm.load_map(Reg.R1, tep6_fd)
    asm.mov(Reg.R2, _DATA)
    asm.alu(Alu.ADD, Reg.R2, _IPV6_DST)
    asm.call(BpfHelper.MAP_LOOKUP_ELEM)
    asm.jump_if(Reg.R0, Cond.EQ, 0, "not_ours")
    asm.jump("ours")


def _match_ipv4(asm: Assembler, flavour: Flavour, pools_fd: int) -> None:
    """Decide about the IPv4 packet at _DATA."""
    flavour.need(asm, _IPV4_LEN)
    asm.load(Size.U32, Reg.R1, _DATA, _IPV4_DST)
    asm.store(Size.U32, Reg.R10, -8, 32)
    asm.store(Size.U32, Reg.R10, -4, Reg.R1)
    asm.load_map(Reg.R1, pools_fd)
    asm.mov(Reg.R2, Reg.R10)
    asm.alu(Alu.ADD, Reg.R2, -8)
    asm.call(BpfHelper.MAP_LOOKUP_ELEM)
    asm.jump_if(Reg.R0, Cond.EQ, 0, "not_ours")
