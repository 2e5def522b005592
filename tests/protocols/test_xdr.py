from __future__ import annotations

from enum import IntEnum

import pytest
import xdrlib3
from hypothesis import given
from hypothesis import strategies as st

from dstmrouter.errors import DecodeError
from dstmrouter.protocols.xdr import Reader, Writer
from tests.protocols.rpc_messages import uint32, uint64


class Colour(IntEnum):
    RED = 2
    BLUE = 7


@given(uint32, uint64, st.booleans(), st.binary(max_size=9), st.text(max_size=9))
def test_writes_what_xdrlib_writes(
    number: int, big: int, truth: bool, octets: bytes, text: str
) -> None:
    packer = xdrlib3.Packer()
    packer.pack_uint(number)
    packer.pack_uhyper(big)
    packer.pack_bool(truth)
    packer.pack_enum(Colour.BLUE)
    packer.pack_opaque(octets)
    packer.pack_fopaque(len(octets), octets)
    packer.pack_string(text.encode())
    packer.pack_array([number, 1], packer.pack_uint)
    writer = Writer()
    writer.uint32(number)
    writer.uint64(big)
    writer.boolean(truth)
    writer.enum(Colour.BLUE)
    writer.opaque(octets, 9)
    writer.fixed(octets, len(octets))
    writer.text(text, 36)
    writer.array([number, 1], 2, writer.uint32)
    assert writer.octets == packer.get_buffer()


@given(uint32, uint64, st.booleans(), st.binary(max_size=9), st.text(max_size=9))
def test_reads_what_it_wrote(number: int, big: int, truth: bool, octets: bytes, text: str) -> None:
    writer = Writer()
    writer.uint32(number)
    writer.uint64(big)
    writer.boolean(truth)
    writer.enum(Colour.RED)
    writer.opaque(octets, 9)
    writer.fixed(octets, len(octets))
    writer.text(text, 36)
    writer.array([number, 1], 2, writer.uint32)
    writer.rest(b"rest")
    reader = Reader(writer.octets)
    assert reader.uint32() == number
    assert reader.uint64() == big
    assert reader.boolean() is truth
    assert reader.enum(Colour) is Colour.RED
    assert reader.opaque(9) == octets
    assert reader.fixed(len(octets)) == octets
    assert reader.text(36) == text
    assert reader.array(2, reader.uint32) == (number, 1)
    assert reader.rest() == b"rest"
    reader.end()


def test_example_of_the_rfc() -> None:
    """RFC 4506 section 7: a file `sillyprog` of type EXEC, interpreter lisp, owner john."""
    octets = bytes.fromhex(
        "00000009 73696c6c 7970726f 67000000 00000002 00000004 6c697370"
        "00000004 6a6f686e 00000006 28717569 74290000"
    )
    reader = Reader(octets)
    assert reader.text(255) == "sillyprog"
    assert reader.uint32() == 2
    assert (reader.text(255), reader.text(255)) == ("lisp", "john")
    assert reader.opaque(65_535) == b"(quit)"
    reader.end()


@pytest.mark.parametrize(
    ("octets", "take", "why"),
    [
        ("000000", lambda r: r.uint32(), "ends 1 octets early"),
        ("00000002", lambda r: r.boolean(), "boolean of value 2"),
        ("00000003", lambda r: r.enum(Colour), "3 is no Colour"),
        ("0000000461616161", lambda r: r.opaque(3), "4 octets, limit 3"),
        ("ffffffff61616161", lambda r: r.opaque(0xFFFFFFFF), "ends 4294967291 octets early"),
        ("0000000361616101", lambda r: r.opaque(3), "nonzero padding"),
        ("00000003616161", lambda r: r.opaque(3), "ends 1 octets early"),
        ("00000001ff000000", lambda r: r.text(3), "string is not UTF-8"),
        ("00000003", lambda r: r.array(2, r.uint32), "3 elements, limit 2"),
        ("00000001", lambda r: r.array(2, r.uint32), "ends 4 octets early"),
        ("0000000100", lambda r: (r.uint32(), r.end()), "1 octets too many"),
    ],
)
def test_what_is_wrong_is_said(octets: str, take: object, why: str) -> None:
    assert callable(take)
    with pytest.raises(DecodeError, match=why):
        take(Reader(bytes.fromhex(octets)))


@pytest.mark.parametrize(
    "put",
    [
        lambda w: w.fixed(b"abc", 4),
        lambda w: w.opaque(b"abc", 2),
        lambda w: w.text("ä", 1),
        lambda w: w.array([1, 2], 1, w.uint32),
    ],
)
def test_own_mistakes_are_found(put: object) -> None:
    assert callable(put)
    with pytest.raises(AssertionError):
        put(Writer())
