from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

import pytest

from tests.pipeline import packets, worlds
from tests.vectors import differences, octets
from tests.vectors.case import ROOT, all_cases
from tests.vectors.expectation import COUNTED_OTHERWISE, COUNTERS, number

if TYPE_CHECKING:
    from collections.abc import Callable

CLIENT6: Final = worlds.CLIENTS6[1]


def test_the_document_lists_all_differences() -> None:
    text = (ROOT / "docs" / "differences.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| ([a-z0-9 ]+) \| ([0-9, ]+) \|", text, re.MULTILINE)
    found = {name: tuple(cases.split(", ")) for name, cases in rows}
    assert found == {each.name: each.cases for each in differences.DIFFERENCES}


def test_tables_name_cases_and_counters_that_there_are() -> None:
    if not all_cases():
        pytest.skip("no packet cases")
    variants = {number(v) for case in all_cases() for v in differences.variants(case)}
    named = {case for each in differences.DIFFERENCES for case in each.cases}
    assert named | set(differences.REPAIRS) | set(differences.COMPARED_WHOLE) <= variants
    theirs = {name for case in all_cases() for name, _ in case.counters}
    assert COUNTERS.keys() <= theirs
    assert {case for case, _ in COUNTED_OTHERWISE} <= variants
    assert {name for _, name in COUNTED_OTHERWISE} <= COUNTERS.keys()


def in_pieces4(packet: bytes, size: int) -> list[bytes]:
    body = packet[20:]
    pieces = []
    for at in range(0, len(body), size):
        more = 0x2000 if at + size < len(body) else 0
        fragment = more | at // 8
        pieces.append(packets.ipv4(payload=body[at : at + size], fragment=fragment))
    return pieces


def in_tunnel(packet: bytes) -> bytes:
    return packets.ether(packets.ipv6(packet, CLIENT6))


@pytest.mark.parametrize("wrap", [packets.ether, in_tunnel])
def test_fragments_of_ipv4_are_put_together(wrap: Callable[[bytes], bytes]) -> None:
    packet = packets.ipv4(payload=bytes(range(200)) * 2, fragment=0)
    frames = [wrap(piece) for piece in in_pieces4(packet, 160)]
    assert len(frames) == 3
    assert octets.whole(frames) == [wrap(packet)]
    assert octets.whole([wrap(packet)] * 2) == [wrap(packet)] * 2
    with pytest.raises(AssertionError, match="a piece is missing"):
        octets.whole([frames[0], frames[2]])


def test_fragments_of_ipv6_are_put_together() -> None:
    packet = packets.ipv4(payload=bytes(range(100)))
    frames = []
    for at in (0, 64):
        piece = packet[at : at + 64]
        header = bytes([4, 0]) + (at | (at == 0)).to_bytes(2, "big") + bytes(4)
        frames.append(packets.ether(packets.ipv6(header + piece, CLIENT6, next_header=44)))
    assert octets.whole(frames) == [in_tunnel(packet)]


def test_fields_are_changed_with_their_checksums() -> None:
    frame = packets.ether(packets.ipv4(ttl=9, ident=7))
    assert octets.with_ttl(frame, 8) == packets.ether(packets.ipv4(ttl=8, ident=7))
    assert octets.with_ident(frame, 5) == packets.ether(packets.ipv4(ttl=9, ident=5))
    assert octets.without_fragment_id(frame) == frame
    tunnelled = in_tunnel(packets.ipv4(ttl=9))
    assert octets.with_ttl(tunnelled, 8) == in_tunnel(packets.ipv4(ttl=8))
