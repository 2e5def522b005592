"""The store by itself; with packets it is tested in tests/pipeline/test_reassembly.py."""

from __future__ import annotations

from dstmrouter.pipeline.fragment_store import Datagram, FragmentStore, Key, Piece
from dstmrouter.pipeline.rules import ReassemblyRules
from dstmrouter.pipeline.verdict import Verdict


def piece(offset: int, end: int, *, more: bool = True) -> Piece:
    return Piece(0, 100, 0, 14, 62, offset, end, more, 0)


def key(client: int, ident: int = 0) -> Key:
    return (client, 0, 9, 9, ident)


def store(**limits: int) -> FragmentStore:
    return FragmentStore(ReassemblyRules(**limits))


def gone(kept: FragmentStore) -> list[tuple[Verdict, int]]:
    return [(verdict, len(datagram.pieces)) for verdict, datagram in kept.gone()]


def test_a_datagram_is_whole_when_its_octets_are_there() -> None:
    kept = store()
    kept.datagram(key(1), 0)
    assert not kept.keep(key(1), piece(16, 20, more=False))
    assert not kept.keep(key(1), piece(0, 8))
    assert kept.keep(key(1), piece(8, 16))
    assert kept.frames == 3
    assert len(kept.take(key(1)).pieces) == 3
    assert (kept.frames, len(kept)) == (0, 0)


def test_what_does_not_fit_together() -> None:
    known = Datagram((1, 0), 0, [piece(8, 24)])
    for new in (piece(0, 16), piece(16, 32), piece(8, 24), piece(0, 40), piece(12, 20)):
        assert known.clashes(new)
    assert known.clashes(piece(0, 4, more=False))  # an end before octets that are there
    assert not known.clashes(piece(0, 8))
    assert not known.clashes(piece(24, 30, more=False))
    known.end = 40
    assert known.clashes(piece(32, 48))
    assert known.clashes(piece(32, 40, more=False))
    assert not known.clashes(piece(32, 40))


def test_the_oldest_makes_room() -> None:
    kept = store(frames=2, per_client=2)
    for client, ident in ((1, 1), (2, 1), (1, 2)):
        kept.datagram(key(client, ident), 0)
        kept.keep(key(client, ident), piece(0, 8))
    assert gone(kept) == [(Verdict.DROP_PIECE_EVICTED, 1)]
    assert key(1, 1) not in kept
    assert (key(2, 1) in kept, key(1, 2) in kept) == (True, True)
    kept = store(per_client=2)
    for ident in range(3):
        kept.datagram(key(7, ident), ident)
    assert [key(7, ident) in kept for ident in range(3)] == [False, True, True]


def test_what_was_condemned_is_remembered_until_its_time_is_over() -> None:
    kept = store(timeout_s=60)
    kept.datagram(key(1), 5)
    kept.keep(key(1), piece(0, 8))
    kept.condemn(key(1), Verdict.DROP_PIECE_OVERLAP)
    assert gone(kept) == [(Verdict.DROP_PIECE_OVERLAP, 1)]
    assert kept.frames == 0
    assert kept.datagram(key(1), 6).condemned is Verdict.DROP_PIECE_OVERLAP
    kept.expire(64)
    assert key(1) in kept
    kept.expire(65)
    assert key(1) not in kept
    assert gone(kept) == [(Verdict.DROP_PIECE_TIMEOUT, 0)]
