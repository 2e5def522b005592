from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scapy.layers.inet import IP, TCP, UDP
from scapy.layers.inet6 import IPv6
from scapy.layers.l2 import Dot1Q, Ether
from scapy.utils import checksum

from dstmrouter.io.offload import TAG_LEN, TagWriter, finish_checksum
from dstmrouter.io.uapi_packet import (
    PACKET,
    TP_STATUS_VLAN_TPID_VALID,
    TP_STATUS_VLAN_VALID,
    VNET_HDR,
)

MACS: dict[str, str] = {"src": "02:00:00:00:00:01", "dst": "02:00:00:00:00:02"}


def partial(whole: bytes, covered: int, field: int, pseudo: bytes) -> bytes:
    """The frame as a sender leaves it that relies on a device to finish the checksum."""
    total: int = 0xFFFF - checksum(pseudo)
    at = covered + field
    return whole[:at] + total.to_bytes(2, "big") + whole[at + 2 :]


@given(payload=st.binary(max_size=300), udp=st.booleans(), v6=st.booleans())
def test_finished_checksums_equal_those_of_scapy(payload: bytes, udp: bool, v6: bool) -> None:
    lower: Any = (
        IPv6(src="2001:db8::1", dst="2001:db8::2") if v6 else IP(src="192.0.2.1", dst="192.0.2.2")
    )
    upper = UDP(sport=1, dport=2) if udp else TCP(sport=1, dport=2)
    whole = bytes(Ether(**MACS) / lower / upper / payload)
    covered, field = (54 if v6 else 34), (6 if udp else 16)
    n = len(whole) - covered
    addresses = whole[22:54] if v6 else whole[26:34]
    pseudo = addresses + n.to_bytes(4, "big") + bytes([0, 0, 0, 17 if udp else 6])
    memory = bytearray(b"\xaa" * 10 + partial(whole, covered, field, pseudo) + b"\xaa" * 10)
    vnet = VNET_HDR.pack(1, 0, 0, 0, covered, field)
    assert finish_checksum(memoryview(memory), 10, 10 + len(whole), vnet)
    assert memory == b"\xaa" * 10 + whole + b"\xaa" * 10


def test_a_udp_checksum_of_zero_becomes_all_ones() -> None:
    memory = bytearray(b"\xff\xff\0\0")
    assert finish_checksum(memoryview(memory), 0, 4, VNET_HDR.pack(1, 0, 0, 0, 0, 2))
    assert memory == b"\xff\xff\xff\xff"


@pytest.mark.parametrize(("covered", "field"), [(60, 0), (50, 9), (65535, 65535), (0, 59)])
def test_a_field_outside_of_the_frame_is_refused(covered: int, field: int) -> None:
    memory = bytearray(b"\x11" * 80)
    vnet = VNET_HDR.pack(1, 0, 0, 0, covered, field)
    assert not finish_checksum(memoryview(memory), 0, 60, vnet)
    assert memory == b"\x11" * 80


def test_tags_go_back_where_they_were() -> None:
    tagged = [bytes(Ether(**MACS) / Dot1Q(vlan=vid, prio=3) / IP() / UDP()) for vid in (0, 1, 4095)]
    tagged.append(b"\x88\xa8".join((tagged[1][:12], tagged[1][14:])))
    memory = bytearray(4 * 128)
    headers = np.zeros(4, PACKET)
    starts = np.arange(4) * 128 + 5
    for i, each in enumerate(tagged):
        memory[i * 128 + 5 + TAG_LEN : i * 128 + 5 + len(each)] = each[:12] + each[16:]
        headers["vlan_tci"][i] = int.from_bytes(each[14:16], "big")
    headers["status"] = TP_STATUS_VLAN_VALID
    headers["status"][3] |= TP_STATUS_VLAN_TPID_VALID
    headers["vlan_tpid"][3] = 0x88A8
    TagWriter(memory).insert(starts, headers)
    for i, each in enumerate(tagged):
        assert memory[i * 128 + 5 : i * 128 + 5 + len(each)] == each
        assert not any(memory[i * 128 : i * 128 + 5])


def test_close_lets_the_memory_go() -> None:
    memory = bytearray(64)
    writer = TagWriter(memory)
    writer.close()
    writer.close()
    memory.clear()  # BufferError while there are views
