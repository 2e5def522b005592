"""Record marking, RFC 5531 section 11: RPC messages in a stream of octets.

A record is one or more fragments, each after a header of 4 octets: bit 31 is set in the last one,
the others are the length of the fragment.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from dstmrouter.errors import DecodeError

if TYPE_CHECKING:
    from collections.abc import Iterator

RECORD_MAX: Final = 65_536  # octets; DSTM calls have 1,036 at most
HEADER_LEN: Final = 4
LAST: Final = 1 << 31


def mark(record: bytes) -> bytes:
    """`record` as one fragment, ready for the stream."""
    return (LAST | len(record)).to_bytes(HEADER_LEN, "big") + record


class RecordAssembler:
    """Takes a stream as it arrives, in pieces of any size; gives records of up to `limit` octets.

    It never holds more than a record of that size and what it was fed last. After a DecodeError the
    stream has no meaning any more: close it.
    """

    def __init__(self, limit: int = RECORD_MAX) -> None:
        self._limit = limit
        self._unread = bytearray()
        self._record = bytearray()

    def receive(self, octets: bytes) -> Iterator[bytes]:
        """The records that `octets` complete, one by one: those before an error are good.

        Raises DecodeError for a record over the limit, as soon as a header announces it, and for an
        empty fragment that is not the last one: with these a record would never have to end.
        """
        self._unread += octets
        while (header := self._header()) is not None:
            last, size = header
            if len(self._unread) < HEADER_LEN + size:
                break
            self._record += self._unread[HEADER_LEN : HEADER_LEN + size]
            del self._unread[: HEADER_LEN + size]
            if last:
                record = bytes(self._record)
                self._record.clear()
                yield record

    def _header(self) -> tuple[bool, int] | None:
        """Whether the fragment is the last one, and its length; None: not complete yet."""
        if len(self._unread) < HEADER_LEN:
            return None
        header = int.from_bytes(self._unread[:HEADER_LEN], "big")
        last, size = bool(header & LAST), header & ~LAST
        total = len(self._record) + size
        if total > self._limit:
            raise DecodeError(f"record of {total} octets or more, limit {self._limit}")
        if not size and not last:
            raise DecodeError("empty fragment")
        return last, size
