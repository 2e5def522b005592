from __future__ import annotations

from scapy.layers.inet import IP, UDP

from dstmrouter.dti.verdict import Verdict
from dstmrouter.dti.waiting import INTERIM4, KEPT_S, PACKETS, WaitingRoom


def packet(number: int = 0, source: str = str(INTERIM4)) -> memoryview:
    return memoryview(bytes(IP(src=source, dst="198.51.100.9", id=number) / UDP()))


def test_a_few_are_kept_in_order_and_no_more() -> None:
    room = WaitingRoom()
    verdicts = [room.admit(packet(i), now=10.0) for i in range(PACKETS + 2)]
    assert verdicts == [Verdict.OUT_WAITING] * PACKETS + [Verdict.OUT_NO_LEASE] * 2
    assert room.leave(now=11.0) == [bytes(packet(i)) for i in range(PACKETS)]
    assert room.leave(now=11.0) == []


def test_old_ones_are_not_sent_and_make_room() -> None:
    room = WaitingRoom()
    for i in range(PACKETS):
        room.admit(packet(i), now=float(i))
    late = PACKETS - 1 + KEPT_S
    assert room.admit(packet(99), now=late) is Verdict.OUT_WAITING
    assert room.leave(now=late) == [bytes(packet(PACKETS - 1)), bytes(packet(99))]


def test_only_packets_that_could_be_sent_are_kept() -> None:
    room = WaitingRoom()
    assert room.admit(packet(source="203.0.113.1"), now=0.0) is Verdict.OUT_SOURCE
    assert room.admit(memoryview(b"\x60"), now=0.0) is Verdict.OUT_NOT_IPV4
    assert room.leave(now=0.0) == []


def test_a_kept_packet_is_a_copy() -> None:
    room = WaitingRoom()
    buffer = bytearray(packet(1))
    room.admit(memoryview(buffer), now=0.0)
    buffer[:] = bytes(len(buffer))
    assert room.leave(now=0.0) == [bytes(packet(1))]
