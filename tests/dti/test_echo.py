from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from scapy.layers.inet import ICMP, IP

from dstmrouter.dti.echo import echo_request, echo_sequence

numbers = st.integers(0, 0xFFFF)


@given(numbers, numbers)
def test_a_request_is_right(identifier: int, sequence: int) -> None:
    parsed = ICMP(echo_request(identifier, sequence))
    assert (parsed.type, parsed.code, parsed.id, parsed.seq) == (8, 0, identifier, sequence)
    octets = bytes(parsed)
    total = sum(int.from_bytes(octets[i : i + 2], "big") for i in range(0, len(octets), 2))
    assert total % 0xFFFF == 0  # RFC 1071: the sum over a right message is all ones


@given(numbers, numbers, st.binary(max_size=20))
def test_its_reply_is_known(identifier: int, sequence: int, data: bytes) -> None:
    reply = IP(options=[b"\x01\x01\x01\x00"]) / ICMP(type=0, id=identifier, seq=sequence) / data
    assert echo_sequence(bytes(reply), identifier) == sequence
    assert echo_sequence(bytes(reply), identifier ^ 1) is None
    request = IP() / ICMP(type=8, id=identifier, seq=sequence)
    assert echo_sequence(bytes(request), identifier) is None


@given(st.binary(max_size=64))
def test_any_octets_are_a_reply_or_not(octets: bytes) -> None:
    assert echo_sequence(octets, 7) in {None, *range(0x10000)}


def test_a_reply_cut_short_is_none() -> None:
    reply = bytes(IP() / ICMP(type=0, id=7, seq=9))
    assert all(echo_sequence(reply[:end], 7) is None for end in range(len(reply)))
