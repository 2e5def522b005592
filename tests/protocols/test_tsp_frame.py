from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dstmrouter.errors import DecodeError
from dstmrouter.protocols.tsp_frame import FRAME_LIMIT, LINE_LIMIT, ReceiveBuffer, frame


def buffer(data: bytes) -> ReceiveBuffer:
    found = ReceiveBuffer()
    found.receive_data(data)
    return found


@pytest.mark.parametrize("end", [b"\n", b"\r\n"])
def test_lines_whole_bytewise_and_trailing(end: bytes) -> None:
    message = b"VERSION=2.0.0" + end
    assert buffer(message).line() == b"VERSION=2.0.0"
    piecewise = ReceiveBuffer()
    for octet in message[:-1]:
        piecewise.receive_data(bytes([octet]))
        assert piecewise.line() is None
    piecewise.receive_data(message[-1:] + b"next")
    assert piecewise.line() == b"VERSION=2.0.0"
    assert (piecewise.line(), len(piecewise)) == (None, 4)


def test_a_line_keeps_its_nuls() -> None:
    found = buffer(b"AUTHENTICATE PLAIN\r\n\0\0user\0secret\r\n")
    assert [found.line(), found.line()] == [b"AUTHENTICATE PLAIN", b"\0\0user\0secret"]


@pytest.mark.parametrize(
    "header",
    [
        b"Content-length: 5\r\n",
        b"content-LENGTH:5\n",
        b"Content-Length :  5 \r\n",
        b"\0\r\nContent-length: 005\r\n",
    ],
)
def test_frames_whole_bytewise_and_trailing(header: bytes) -> None:
    assert buffer(header + b"hello").frame() == b"hello"
    piecewise = ReceiveBuffer()
    for octet in header + b"hell":
        piecewise.receive_data(bytes([octet]))
        assert piecewise.frame() is None
    piecewise.receive_data(b"o" + header + b"world")
    assert [piecewise.frame(), piecewise.frame()] == [b"hello", b"world"]
    assert piecewise.blank


@pytest.mark.parametrize(
    "data",
    [
        b"Content-length: 0\r\n",
        b"Content-length: 8193\r\n",
        b"Content-length: 999999\r\n",
        b"Content-length: -1\r\n",
        b"Content-length: +5\r\nhello",
        b"Content-length: 5 5\r\nhello",
        b"<tunnel/>\r\n",
        b"\r\n" * LINE_LIMIT,
        b"C" * (LINE_LIMIT + 1),
    ],
)
def test_what_is_no_frame_is_refused(data: bytes) -> None:
    with pytest.raises(DecodeError):
        buffer(data).frame()


def test_limits_are_met_exactly() -> None:
    assert buffer(b"x" * LINE_LIMIT + b"\r\n").line() == b"x" * LINE_LIMIT
    for data in (b"x" * (LINE_LIMIT + 1) + b"\n", b"x" * (LINE_LIMIT + 2)):
        with pytest.raises(DecodeError):
            buffer(data).line()
    body = b"y" * FRAME_LIMIT
    assert buffer(frame(body)).frame() == body


def test_room_ends_with_the_largest_message() -> None:
    full = buffer(b"z" * (LINE_LIMIT + FRAME_LIMIT))
    assert full.room == 0
    assert buffer(b"").room == LINE_LIMIT + FRAME_LIMIT


def test_a_list_ends_with_its_mark() -> None:
    found = buffer(b"<tunnel>")
    assert found.until(b"</tunnel>") is None
    found.receive_data(b"</tunnel>\r\n")
    assert found.until(b"</tunnel>") == b"<tunnel></tunnel>"
    with pytest.raises(DecodeError):
        buffer(b"<" * (FRAME_LIMIT + 1)).until(b">")


@given(st.lists(st.binary(max_size=60), max_size=8))
def test_any_octets_give_messages_or_an_error(pieces: list[bytes]) -> None:
    found = ReceiveBuffer()
    for piece in pieces:
        found.receive_data(piece)
        for take in (found.line, found.frame):
            try:
                message = take()
            except DecodeError:
                continue
            assert message is None or len(message) <= sum(map(len, pieces))


@given(st.binary(min_size=1, max_size=300))
def test_a_frame_is_read_as_it_was_written(body: bytes) -> None:
    assert buffer(frame(body)).frame() == body
