from __future__ import annotations

import numpy as np
from scapy.layers.l2 import Dot1Q, Ether

from dstmrouter.wire import ether

DST, SRC = "02:00:00:00:0a:0b", "02:00:00:00:0c:0d"


def test_a_plain_header_is_what_scapy_builds() -> None:
    header = np.zeros(1, ether.HEADER)
    header["dst"], header["src"] = bytes.fromhex("020000000a0b"), bytes.fromhex("020000000c0d")
    header["type"] = ether.ETHERTYPE_IPV4
    assert header.tobytes() == bytes(Ether(dst=DST, src=SRC, type=0x0800))


def test_a_tagged_header_is_what_scapy_builds() -> None:
    header = np.zeros(1, ether.TAGGED)
    header["dst"], header["src"] = bytes.fromhex("020000000a0b"), bytes.fromhex("020000000c0d")
    header["tpid"], header["tci"] = ether.ETHERTYPE_VLAN, 5 << 13 | 77
    header["type"] = ether.ETHERTYPE_IPV6
    built = Ether(dst=DST, src=SRC) / Dot1Q(prio=5, vlan=77, type=0x86DD)
    assert header.tobytes() == bytes(built)
    assert header["tci"][0] & ether.VID_MASK == 77


def test_types_of_tagged_and_untagged_frames() -> None:
    tagged = bytes(Ether(dst=DST, src=SRC) / Dot1Q(vlan=77, type=0x86DD))
    types = np.frombuffer(tagged, ether.TYPES, 1, ether.TYPES_AT)[0]
    assert (types["type"], types["tci"], types["inner_type"]) == (0x8100, 77, 0x86DD)
    plain = np.frombuffer(bytes(Ether(type=0x0800)) + bytes(9), ether.TYPES, 1, ether.TYPES_AT)[0]
    assert types["type"] == ether.ETHERTYPE_VLAN
    assert plain["type"] == ether.ETHERTYPE_IPV4
