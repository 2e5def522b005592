from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dstmrouter.errors import DecodeError
from dstmrouter.protocols.tsp_datagram import Datagram, Retransmission, may_answer


def test_octets_of_the_specification() -> None:
    octets = bytes.fromhex("f000000100012345") + b"VERSION=2.0.0\r\n"
    found = Datagram.decode(octets)
    assert found == Datagram(1, 0x12345, b"VERSION=2.0.0\r\n")
    assert found.encode() == octets
    assert found.answer(b"").encode() == octets[:8]


@pytest.mark.parametrize(
    "octets", [b"", b"\xf0\0\0\0\0\0\0", b"\xe0" + bytes(7), b"\xf0" + bytes(1232)]
)
def test_other_octets_are_refused(octets: bytes) -> None:
    with pytest.raises(DecodeError):
        Datagram.decode(octets)


@given(st.integers(0, 0x0FFFFFFF), st.integers(0, 0xFFFFFFFF), st.binary(max_size=1224))
def test_a_datagram_is_read_as_it_was_written(sequence: int, stamp: int, payload: bytes) -> None:
    datagram = Datagram(sequence, stamp, payload)
    assert Datagram.decode(datagram.encode()) == datagram


@given(st.binary(max_size=1300))
def test_any_octets_are_a_datagram_or_an_error(octets: bytes) -> None:
    try:
        assert Datagram.decode(octets).encode() == octets
    except DecodeError:
        assert not 8 <= len(octets) <= 1232 or octets[0] >> 4 != 0xF


@pytest.mark.parametrize(
    ("sequence", "newer"), [(5, False), (4, False), (6, True), (69, True), (70, False)]
)
def test_only_the_next_numbers_are_new(sequence: int, newer: bool) -> None:
    assert Datagram(sequence, 0, b"").follows(Datagram(5, 0, b"")) == newer


def test_numbers_and_clocks_start_again() -> None:
    last = Datagram(0x0FFFFFFF, 0xFFFFFFFF, b"")
    first = Datagram(0, 0, b"")
    assert first.follows(last)
    assert first.was_sent_after(last)
    assert not last.was_sent_after(first)
    assert not first.was_sent_after(first)


def test_nobody_is_flooded_in_another_s_name() -> None:
    assert may_answer(8, 8)
    assert may_answer(23, 165)
    assert not may_answer(23, 166)


def test_waiting_times_follow_the_round_trips() -> None:
    timer = Retransmission()
    assert (timer.tries, [timer.wait_s(sent) for sent in (1, 2, 3)]) == (3, [2.0, 4.0, 8.0])
    timer.measured(0.01)
    assert (timer.tries, timer.wait_s(1)) == (8, 2.0)
    for _ in range(50):
        timer.measured(10.0)
    assert 10.0 < timer.wait_s(1) < 12.0
    assert timer.wait_s(8) == 30.0
