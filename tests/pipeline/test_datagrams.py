from __future__ import annotations

import pytest

from dstmrouter.pipeline.datagrams import DATAGRAMS, LIFETIME_S, PIECES, Datagrams, Piece, is_odd

NAME, OTHER = (1, 17 << 16 | 7, 0, 0), (1, 17 << 16 | 8, 0, 0)
FIRST = Piece(0, 1480, more=True)
PORTS = 0x12670035
NOW_S = 100


@pytest.fixture
def datagrams() -> Datagrams:
    made = Datagrams()
    made.begin(NAME, FIRST, PORTS, NOW_S)
    return made


def test_later_pieces_have_the_ports_of_the_first(datagrams: Datagrams) -> None:
    assert datagrams.begun(NAME, NOW_S)
    assert not datagrams.begun(OTHER, NOW_S)
    assert datagrams.go_on(NAME, Piece(2960, 40, more=False)) == PORTS
    assert datagrams.go_on(NAME, Piece(1480, 1480, more=True)) == PORTS


@pytest.mark.parametrize(
    "overlap", [Piece(8, 8, more=True), Piece(1472, 16, more=True), Piece(1400, 99, more=False)]
)
def test_rfc1858_an_overlap_ends_the_datagram(datagrams: Datagrams, overlap: Piece) -> None:
    assert datagrams.go_on(NAME, overlap) is None
    assert datagrams.go_on(NAME, Piece(1480, 1480, more=True)) is None


def test_a_piece_that_comes_twice_is_dropped_alone(datagrams: Datagrams) -> None:
    second = Piece(1480, 1480, more=True)
    assert datagrams.go_on(NAME, second) == PORTS
    assert datagrams.go_on(NAME, second) is None
    assert datagrams.go_on(NAME, Piece(2960, 40, more=False)) == PORTS


def test_pieces_of_one_datagram_are_limited(datagrams: Datagrams) -> None:
    gone_on = [datagrams.go_on(NAME, Piece(1480 + 8 * n, 8, more=True)) for n in range(PIECES)]
    assert gone_on == [PORTS] * (PIECES - 1) + [None]


def test_what_is_known_ends_with_time(datagrams: Datagrams) -> None:
    datagrams.begin(OTHER, FIRST, 1, NOW_S + 1)
    datagrams.expire(NOW_S + LIFETIME_S - 1)
    assert len(datagrams) == 2
    assert not datagrams.begun(NAME, NOW_S + LIFETIME_S)
    datagrams.expire(NOW_S + LIFETIME_S)
    assert len(datagrams) == 1
    datagrams.begin(NAME, FIRST, 2, NOW_S + LIFETIME_S)
    assert datagrams.go_on(NAME, Piece(1480, 8, more=False)) == 2
    datagrams.expire(NOW_S + 99)
    assert len(datagrams) == 0


def test_a_name_that_is_used_again_is_the_youngest(datagrams: Datagrams) -> None:
    datagrams.begin(OTHER, FIRST, 1, NOW_S + 1)
    datagrams.begin(NAME, FIRST, 2, NOW_S + LIFETIME_S)
    datagrams.expire(NOW_S + LIFETIME_S + 1)
    assert datagrams.begun(NAME, NOW_S + LIFETIME_S + 1)


def test_memory_is_bounded_and_the_oldest_is_forgotten(datagrams: Datagrams) -> None:
    for number in range(DATAGRAMS):
        datagrams.begin((2, number, 0, 0), FIRST, number, NOW_S)
    assert len(datagrams) == DATAGRAMS
    assert not datagrams.begun(NAME, NOW_S)
    assert datagrams.begun((2, 0, 0, 0), NOW_S)


@pytest.mark.parametrize(
    ("piece", "tcp", "odd"),
    [
        (FIRST, True, False),
        (Piece(0, 1479, more=True), False, True),  # no multiple of eight, and not the last
        (Piece(0, 1479, more=False), False, False),
        (Piece(8, 8, more=True), True, True),  # RFC 1858: over the flags
        (Piece(8, 8, more=True), False, False),
        (Piece(16, 8, more=True), True, False),
        (Piece(8, 0, more=False), False, True),
        (Piece(65_512, 3, more=False), False, False),
        (Piece(65_512, 4, more=False), False, True),  # longer than any datagram
    ],
)
def test_pieces_that_no_honest_datagram_has(piece: Piece, *, tcp: bool, odd: bool) -> None:
    assert is_odd(piece, tcp=tcp) == odd
