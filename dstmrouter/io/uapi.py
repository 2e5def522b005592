"""Constants and structures of the kernel's user-space interface for AF_XDP and BPF.

Each block names its header under include/uapi/linux; values that are younger than Linux 6.1 (the
kernel of Debian 12) say since when. Structures are dtypes where arrays of them exist and `struct`
formats where one is packed for a call.
"""

from __future__ import annotations

import enum
import struct
from typing import Final

# include/linux/socket.h, uapi/asm-generic/socket.h
AF_XDP: Final = 44
SOL_XDP: Final = 283
SO_BUSY_POLL: Final = 46
SO_PREFER_BUSY_POLL: Final = 69
SO_BUSY_POLL_BUDGET: Final = 70
SO_SNDBUFFORCE: Final = 32

# if_xdp.h: socket options
XDP_MMAP_OFFSETS: Final = 1
XDP_RX_RING: Final = 2
XDP_TX_RING: Final = 3
XDP_UMEM_REG: Final = 4
XDP_UMEM_FILL_RING: Final = 5
XDP_UMEM_COMPLETION_RING: Final = 6
XDP_STATISTICS: Final = 7
XDP_OPTIONS: Final = 8
XDP_MAX_TX_SKB_BUDGET: Final = 9  # since 6.17

# if_xdp.h: flags of bind(2), of a ring, of XDP_OPTIONS
XDP_SHARED_UMEM: Final = 1 << 0
XDP_COPY: Final = 1 << 1
XDP_ZEROCOPY: Final = 1 << 2
XDP_USE_NEED_WAKEUP: Final = 1 << 3
XDP_RING_NEED_WAKEUP: Final = 1 << 0
XDP_OPTIONS_ZEROCOPY: Final = 1 << 0

# if_xdp.h: page offsets at which mmap(2) finds the rings
XDP_PGOFF_RX_RING: Final = 0
XDP_PGOFF_TX_RING: Final = 0x80000000
XDP_UMEM_PGOFF_FILL_RING: Final = 0x100000000
XDP_UMEM_PGOFF_COMPLETION_RING: Final = 0x180000000

# Structures of if_xdp.h.
SOCKADDR_XDP: Final = struct.Struct("=HHIII")  # family, flags, ifindex, queue, shared_umem_fd
XDP_UMEM_REG_ARG: Final = struct.Struct("=QQIIIxxxx")  # addr, len, chunk_size, headroom, flags
XDP_RING_OFFSET: Final = struct.Struct("=QQQQ")  # producer, consumer, desc, flags
XDP_STATISTICS_FIELDS: Final = (
    "rx_dropped",
    "rx_invalid_descs",
    "tx_invalid_descs",
    "rx_ring_full",  # this one and the rest since 5.9
    "rx_fill_ring_empty_descs",
    "tx_ring_empty_descs",
)

# if_link.h: how an XDP program is attached
XDP_FLAGS_SKB_MODE: Final = 1 << 1
XDP_FLAGS_DRV_MODE: Final = 1 << 2

# Limits and flags of bpf.h.
BPF_OBJ_NAME_LEN: Final = 16
BPF_F_NO_PREALLOC: Final = 1 << 0
BPF_F_TEST_XDP_LIVE_FRAMES: Final = 1 << 1
BPF_F_MMAPABLE: Final = 1 << 10
BPF_ANY: Final = 0


class BpfCommand(enum.IntEnum):
    """bpf.h: enum bpf_cmd."""

    MAP_CREATE = 0
    MAP_LOOKUP_ELEM = 1
    MAP_UPDATE_ELEM = 2
    MAP_DELETE_ELEM = 3
    MAP_GET_NEXT_KEY = 4
    PROG_LOAD = 5
    PROG_TEST_RUN = 10
    OBJ_GET_INFO_BY_FD = 15
    LINK_CREATE = 28


class BpfMapType(enum.IntEnum):
    """bpf.h: enum bpf_map_type."""

    HASH = 1
    ARRAY = 2
    LPM_TRIE = 11
    XSKMAP = 17


class BpfProgType(enum.IntEnum):
    """bpf.h: enum bpf_prog_type."""

    SOCKET_FILTER = 1
    SCHED_CLS = 3
    XDP = 6


class BpfAttachType(enum.IntEnum):
    """bpf.h: enum bpf_attach_type."""

    XDP = 37
    TCX_INGRESS = 46  # since 6.6


class BpfHelper(enum.IntEnum):
    """bpf.h: the helper functions a program can call."""

    MAP_LOOKUP_ELEM = 1
    KTIME_GET_NS = 5
    GET_PRANDOM_U32 = 7
    GET_SMP_PROCESSOR_ID = 8
    REDIRECT = 23
    SKB_LOAD_BYTES = 26
    SKB_PULL_DATA = 39
    REDIRECT_MAP = 51
    XDP_ADJUST_TAIL = 65
    XDP_STORE_BYTES = 190  # since 5.18


class XdpAction(enum.IntEnum):
    """bpf.h: enum xdp_action."""

    ABORTED = 0
    DROP = 1
    PASS = 2
    TX = 3
    REDIRECT = 4


class TcAction(enum.IntEnum):
    """pkt_cls.h: TC_ACT_*; under TCX the same numbers mean next, pass, drop."""

    UNSPEC = -1
    OK = 0
    SHOT = 2


class XdpMd(enum.IntEnum):
    """bpf.h: octet offsets in struct xdp_md, the context of an XDP program."""

    DATA = 0
    DATA_END = 4
    RX_QUEUE_INDEX = 16


class SkBuff(enum.IntEnum):
    """bpf.h: octet offsets in struct __sk_buff, the context of TC programs and socket filters."""

    LEN = 0
    VLAN_PRESENT = 20
    VLAN_TCI = 24
    VLAN_PROTO = 28
    DATA = 76
    DATA_END = 80
