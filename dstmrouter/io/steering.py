"""Steering the router's packets out of the kernel's path: the maps, loading and attaching.

The kernel keeps its network card; `steering_program` says which packets are ours. Three flavours:
**XDP** redirects them to the AF_XDP socket of the receiving queue; without a socket there, and that
is so as soon as a worker dies, they go to the kernel. For packet_mmap ports, the **filter** lets
their sockets take a copy of ours alone, and **TC** drops the originals: the kernel must not answer.

A port has either one VLAN or none: with `None` untagged and priority-tagged (VID 0) frames are
ours, with a number the frames with that 802.1Q VID. An interface may carry several ports. XDP sees
the tag only in the frame, so receive VLAN offload must be off there (`ethtool -K eth1 rxvlan off`).

Programs are attached by BPF links: when the process dies, the kernel detaches them.
"""

from __future__ import annotations

import enum
import errno
import struct
from contextlib import ExitStack
from typing import TYPE_CHECKING, Final, Self

from dstmrouter.errors import DstmError, SystemCallError
from dstmrouter.io.bpf import Link, Map, MapSpec, Program
from dstmrouter.io.clsact import ClsactFilter
from dstmrouter.io.interface import interface_name
from dstmrouter.io.owner import Closing, Owner
from dstmrouter.io.patience import while_busy
from dstmrouter.io.steering_program import Filter, Tc, Xdp, assemble
from dstmrouter.io.uapi import (
    BPF_F_NO_PREALLOC,
    XDP_FLAGS_DRV_MODE,
    XDP_FLAGS_SKB_MODE,
    BpfAttachType,
    BpfMapType,
    BpfProgType,
)

if TYPE_CHECKING:
    from collections.abc import Collection
    from ipaddress import IPv4Network, IPv6Address

TEP6_MAP: Final = MapSpec(BpfMapType.HASH, 16, 1, 256)
POOL_MAP: Final = MapSpec(BpfMapType.LPM_TRIE, 8, 1, 65536, BPF_F_NO_PREALLOC)
MAX_QUEUES: Final = 64  # as many as there can be workers
XSK_MAP: Final = MapSpec(BpfMapType.XSKMAP, 4, 4, MAX_QUEUES)

_MEMBER: Final = b"\1"  # the maps are sets
_LPM_KEY: Final = struct.Struct("=I4s")  # struct bpf_lpm_trie_key: prefix length, address


class SteeringMaps(Owner):
    """The sets of our addresses; loaded programs see changes at once, and keep the maps."""

    def __init__(self) -> None:
        with ExitStack() as undo:
            self.tep6 = undo.enter_context(Map.create(TEP6_MAP, "dstm_tep6"))
            self.pools = undo.enter_context(Map.create(POOL_MAP, "dstm_pools"))
            self._undo = undo.pop_all()

    def set_tep6(self, addresses: Collection[IPv6Address]) -> None:
        """Make `addresses` (at most 256) our tunnel end points."""
        _replace_members(self.tep6, {address.packed for address in addresses})

    def set_pools(self, prefixes: Collection[IPv4Network]) -> None:
        """Make `prefixes` (at most 65,536) the destinations that are ours."""
        _replace_members(
            self.pools, {_LPM_KEY.pack(p.prefixlen, p.network_address.packed) for p in prefixes}
        )


class XskMap(Closing):
    """The sockets of one port, by receive queue."""

    def __init__(self, table: Map) -> None:
        """Own `table`; see `create` and `from_fd`."""
        if table.spec.kind is not BpfMapType.XSKMAP:
            raise DstmError(f"{table.name} is a {table.spec.kind.name} map, no XSKMAP")
        self._table = table

    @classmethod
    def create(cls) -> Self:
        """Make an empty map; the kernel takes a socket out when it is closed."""
        return cls(Map.create(XSK_MAP, "dstm_xsks"))

    @classmethod
    def from_fd(cls, fd: int) -> Self:
        """Own the descriptor of a map that the supervisor handed down."""
        return cls(Map.from_fd(fd, "dstm_xsks"))

    def fileno(self) -> int:
        """The descriptor, to hand down to workers."""
        return self._table.fileno()

    def set(self, queue: int, socket_fd: int) -> None:
        """Redirect what queue `queue` receives to that AF_XDP socket, from now on."""
        self._table.set(struct.pack("=I", queue), struct.pack("=i", socket_fd))

    def close(self) -> None:
        """Close the descriptor; harmless when repeated."""
        self._table.close()


def load_xdp(maps: SteeringMaps, xskmap: XskMap, *vlans: int | None) -> Program:
    """Load the XDP flavour for the ports of one interface."""
    flavour = Xdp(xskmap.fileno())
    code = assemble(flavour, maps.tep6.fileno(), maps.pools.fileno(), vlans)
    return Program.load(BpfProgType.XDP, code, "dstm_steer")


def load_tc(maps: SteeringMaps, *vlans: int | None) -> Program:
    """Load the TC flavour for the ports of one interface."""
    code = assemble(Tc(), maps.tep6.fileno(), maps.pools.fileno(), vlans)
    return Program.load(BpfProgType.SCHED_CLS, code, "dstm_steer")


def load_filter(maps: SteeringMaps, *vlans: int | None) -> Program:
    """Load the flavour for the packet sockets of one interface."""
    code = assemble(Filter(), maps.tep6.fileno(), maps.pools.fileno(), vlans)
    return Program.load(BpfProgType.SOCKET_FILTER, code, "dstm_steer")


class XdpMode(enum.Enum):
    """Where an XDP program runs: in the driver, or in front of the stack on socket buffers."""

    NATIVE = "native"
    GENERIC = "generic"


_XDP_FLAGS: Final = {
    XdpMode.NATIVE: XDP_FLAGS_DRV_MODE,
    XdpMode.GENERIC: XDP_FLAGS_SKB_MODE,
}


class XdpLink(Link):
    """An attached XDP program: the mode it got, and a line for each mode refused before."""

    mode: XdpMode
    notes: list[str]


def attach_xdp(ifindex: int, program: Program, mode: XdpMode | None = None) -> XdpLink:
    """Attach to an interface; `mode` None takes native where the driver can, else generic.

    An interface takes one XDP program; that of a router killed just now is waited for.
    """
    notes: list[str] = []
    modes = list(XdpMode) if mode is None else [mode]
    for preferred in modes[:-1]:
        try:
            return _attach_xdp(ifindex, program, preferred, notes)
        except SystemCallError as error:
            if error.errno == errno.EBUSY:  # somebody else's program, in whatever mode
                raise
            notes.append(str(error))
    return _attach_xdp(ifindex, program, modes[-1], notes)


def _attach_xdp(ifindex: int, program: Program, mode: XdpMode, notes: list[str]) -> XdpLink:
    tried = f"attach XDP program to {interface_name(ifindex)}, {mode.value}"
    try:
        link = while_busy(
            lambda: XdpLink.create(tried, program, ifindex, BpfAttachType.XDP, _XDP_FLAGS[mode])
        )
    except SystemCallError as error:
        if error.errno != errno.ERANGE:
            raise
        # A packet, its headroom and the kernel's notes on it have to fit a page.
        raise SystemCallError(tried, errno.ERANGE, "the MTU is too large for XDP there") from None
    link.mode, link.notes = mode, notes
    return link


_TCX: Final = BpfAttachType.TCX_INGRESS


def attach_tcx(ifindex: int, program: Program) -> Link | ClsactFilter:
    """Attach the TC flavour to what an interface receives; before Linux 6.6 through clsact."""
    tried = f"attach TC program to {interface_name(ifindex)}"
    try:
        return Link.create(tried, program, ifindex, _TCX)
    except SystemCallError as error:
        if error.errno != errno.EINVAL:  # the answer of a kernel that does not know TCX
            raise
    return ClsactFilter.attach(ifindex, program)


def _replace_members(members: Map, wanted: set[bytes]) -> None:
    """Make the set equal to `wanted`; what is in both sets is not touched."""
    present = set(members.keys())
    for key in wanted - present:
        members.set(key, _MEMBER)
    for key in present - wanted:
        members.delete(key)
