"""Constants and structures of the kernel's user-space interface for packet sockets.

From include/uapi/linux/if_packet.h, but for what names another header. How the rings work is told
in Documentation/networking/packet_mmap.rst.
"""

from __future__ import annotations

import struct
from typing import Final

import numpy as np

SOL_PACKET: Final = 263  # include/linux/socket.h
ETH_P_ALL: Final = 0x0003  # if_ether.h
ARPHRD_ETHER: Final = 1  # if_arp.h
SO_ATTACH_BPF: Final = 50  # asm-generic/socket.h

# Socket options
PACKET_RX_RING: Final = 5
PACKET_STATISTICS: Final = 6
PACKET_VERSION: Final = 10
PACKET_TX_RING: Final = 13
PACKET_LOSS: Final = 14
PACKET_VNET_HDR: Final = 15
PACKET_FANOUT: Final = 18
PACKET_QDISC_BYPASS: Final = 20
PACKET_IGNORE_OUTGOING: Final = 23  # since 4.20

# PACKET_VERSION
TPACKET_V2: Final = 1
TPACKET_V3: Final = 2

# PACKET_FANOUT: how packets are shared among the sockets of a group
PACKET_FANOUT_HASH: Final = 0
PACKET_FANOUT_CPU: Final = 2
PACKET_FANOUT_QM: Final = 5

# Status of a block and of a received packet
TP_STATUS_KERNEL: Final = 0
TP_STATUS_USER: Final = 1 << 0
TP_STATUS_CSUMNOTREADY: Final = 1 << 3
TP_STATUS_VLAN_VALID: Final = 1 << 4
TP_STATUS_VLAN_TPID_VALID: Final = 1 << 6

# Status of a slot to send
TP_STATUS_AVAILABLE: Final = 0
TP_STATUS_SEND_REQUEST: Final = 1 << 0

# struct tpacket_req: block_size, block_nr, frame_size, frame_nr
TPACKET_REQ: Final = struct.Struct("=4I")
# struct tpacket_req3: the same, then retire_blk_tov (ms), sizeof_priv, feature_req_word
TPACKET_REQ3: Final = struct.Struct("=7I")
# struct tpacket_stats_v3: tp_packets (drops included), tp_drops, tp_freeze_q_cnt
TPACKET_STATS_V3: Final = struct.Struct("=3I")

BLOCK: Final = np.dtype(
    [  # struct tpacket_block_desc with tpacket_hdr_v1
        ("version", "<u4"),
        ("offset_to_priv", "<u4"),
        ("status", "<u4"),
        ("num_pkts", "<u4"),
        ("offset_to_first_pkt", "<u4"),
        ("blk_len", "<u4"),
        ("seq_num", "<u8"),
        ("ts_first_pkt", "<u8"),
        ("ts_last_pkt", "<u8"),
    ]
)
assert BLOCK.itemsize == 48

PACKET: Final = np.dtype(
    [  # struct tpacket3_hdr
        ("next_offset", "<u4"),  # octets from this header to the next
        ("sec", "<u4"),
        ("nsec", "<u4"),
        ("snaplen", "<u4"),  # octets in the ring
        ("len", "<u4"),  # octets of the packet
        ("status", "<u4"),
        ("mac", "<u2"),  # octets from this header to the Ethernet header
        ("net", "<u2"),
        ("rxhash", "<u4"),
        ("vlan_tci", "<u4"),
        ("vlan_tpid", "<u2"),
        ("padding", "V10"),
    ]
)
assert PACKET.itemsize == 48

SLOT: Final = np.dtype(
    [  # struct tpacket2_hdr, then struct virtio_net_hdr; a packet to send follows at once
        ("status", "<u4"),
        ("len", "<u4"),  # octets of the packet and of its virtio_net_hdr
        ("snaplen", "<u4"),
        ("mac", "<u2"),
        ("net", "<u2"),
        ("sec", "<u4"),
        ("nsec", "<u4"),
        ("vlan_tci", "<u2"),
        ("vlan_tpid", "<u2"),
        ("padding", "V4"),
        ("flags", "u1"),
        ("gso_type", "u1"),
        ("hdr_len", "<u2"),  # octets of the packet that the kernel copies
        ("gso_size", "<u2"),
        ("csum_start", "<u2"),
        ("csum_offset", "<u2"),
    ]
)
assert SLOT.itemsize == 42
VNET_HDR_LEN: Final = 10

# struct virtio_net_hdr (virtio_net.h), right before the Ethernet header with PACKET_VNET_HDR:
# flags, gso_type, hdr_len, gso_size, csum_start (octets from the Ethernet header), csum_offset
# (octets from csum_start)
VNET_HDR: Final = struct.Struct("=BBHHHH")
