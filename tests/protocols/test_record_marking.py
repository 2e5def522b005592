from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dstmrouter.errors import DecodeError
from dstmrouter.protocols.record_marking import LAST, RecordAssembler, mark

records = st.lists(st.binary(max_size=40), max_size=5)
cuts = st.lists(st.integers(0, 40), max_size=20)


def fragmented(record: bytes, sizes: list[int]) -> bytes:
    """`record` in fragments of `sizes` (none of them empty), and the rest in the last one."""
    stream = b""
    for size in sizes:
        piece, record = record[:size], record[size:]
        if piece:
            stream += len(piece).to_bytes(4, "big") + piece
    return stream + mark(record)


def fed(stream: bytes, sizes: list[int]) -> list[bytes]:
    assembler = RecordAssembler(40)
    found: list[bytes] = []
    for size in [*sizes, len(stream)]:
        found += assembler.receive(stream[:size])
        stream = stream[size:]
    return found


def test_mark_of_a_call_of_80_octets() -> None:
    assert mark(bytes(80))[:4].hex() == "80000050"


@given(records, cuts, cuts)
def test_any_fragments_in_any_pieces(sent: list[bytes], fragments: list[int], p: list[int]) -> None:
    stream = b"".join(fragmented(record, fragments) for record in sent)
    assert fed(stream, p) == sent
    assert fed(stream, [1] * len(stream)) == sent


def test_nothing_is_given_before_it_is_complete() -> None:
    assembler = RecordAssembler()
    stream = fragmented(b"record", [2, 3])
    for octet in stream[:-1]:
        assert list(assembler.receive(bytes([octet]))) == []
    assert list(assembler.receive(stream[-1:] + b"\x80")) == [b"record"]
    assert list(assembler.receive(bytes(3))) == [b""]


@pytest.mark.parametrize(
    ("stream", "why"),
    [
        ((LAST | 41).to_bytes(4, "big"), "record of 41 octets or more, limit 40"),
        (b"\x7f\xff\xff\xff", "record of 2147483647 octets or more"),
        (fragmented(bytes(41), [20]), "record of 41 octets"),
        (bytes(4), "empty fragment"),
    ],
)
def test_what_would_never_end_is_refused(stream: bytes, why: str) -> None:
    with pytest.raises(DecodeError, match=why):
        list(RecordAssembler(40).receive(stream))


def test_what_came_before_an_error_is_good_however_it_came() -> None:
    received = RecordAssembler(40).receive(mark(b"one") + mark(b"two") + bytes(4))
    assert [next(received), next(received)] == [b"one", b"two"]
    with pytest.raises(DecodeError):
        next(received)


def test_who_stops_early_loses_nothing() -> None:
    assembler = RecordAssembler()
    assert next(assembler.receive(mark(b"one") + mark(b"two"))) == b"one"
    assert list(assembler.receive(b"")) == [b"two"]


@given(st.lists(st.binary(max_size=60), max_size=20))
def test_holds_no_more_than_a_record(pieces: list[bytes]) -> None:
    assembler = RecordAssembler(40)
    try:
        for piece in pieces:
            assert all(len(record) <= 40 for record in assembler.receive(piece))
            assert len(assembler._record) + len(assembler._unread) <= 40 + 4
    except DecodeError:
        pass
