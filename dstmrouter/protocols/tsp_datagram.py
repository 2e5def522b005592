"""TSP over UDP: the 8 octets in front of each message (RFC 5572 section 4.4).

    4 bits 0xF | 28 bits sequence number | 32 bits timestamp of the client

An answer repeats both words. A client takes the next number for a new message and keeps the number
when it sends one again. Every datagram is answered; where there is nothing to say, by the header.
"""

from __future__ import annotations

import dataclasses
import struct
from typing import Final, Self

from dstmrouter.errors import DecodeError

HEADER_LEN: Final = 8
DATAGRAM_LIMIT: Final = 1232
"""Octets of UDP payload: IPv6's minimum MTU of 1280 less both headers."""

AHEAD_LIMIT: Final = 64
"""How far a client's numbers may go ahead: it has one message under way at a time."""

UNVERIFIED_FACTOR: Final = 3
"""As in RFC 9000 section 8.1: how much more than it got a server sends to an unproved address."""

_HEADERS_BELOW: Final = 48  # IPv6 and UDP: what the network carries counts, not the payload
_HEADER: Final = struct.Struct("!II")
_MARK: Final = 0xF0000000
_SEQUENCE: Final = 0x0FFFFFFF


@dataclasses.dataclass(frozen=True, slots=True)
class Datagram:
    """A message with its header; `stamp` is the client's and only repeated."""

    sequence: int
    stamp: int
    payload: bytes

    @classmethod
    def decode(cls, octets: bytes) -> Self:
        """Read a datagram; DecodeError if it is none of TSP, or too long."""
        if not HEADER_LEN <= len(octets) <= DATAGRAM_LIMIT:
            raise DecodeError(f"expected {HEADER_LEN} to {DATAGRAM_LIMIT} octets")
        first, stamp = _HEADER.unpack_from(octets)
        if first & _MARK != _MARK:
            raise DecodeError("expected 0xF in front")
        return cls(first & _SEQUENCE, stamp, octets[HEADER_LEN:])

    def follows(self, other: Datagram) -> bool:
        """Whether it is a newer message of the same client; after the last number comes 0."""
        return 0 < (self.sequence - other.sequence) & _SEQUENCE <= AHEAD_LIMIT

    def was_sent_after(self, other: Datagram) -> bool:
        """Whether it left the client later, by the client's own clock (RFC 1982)."""
        return 0 < (self.stamp - other.stamp) & 0xFFFFFFFF < 1 << 31

    def encode(self) -> bytes:
        """Write the datagram."""
        header = _HEADER.pack(_MARK | self.sequence & _SEQUENCE, self.stamp & 0xFFFFFFFF)
        return header + self.payload

    def answer(self, payload: bytes) -> Datagram:
        """The answer that carries `payload`."""
        return Datagram(self.sequence, self.stamp, payload)


def may_answer(asked: int, answer: int) -> bool:
    """Whether an answer of so many octets may go to an address that has proved nothing."""
    return answer + _HEADERS_BELOW <= UNVERIFIED_FACTOR * (asked + _HEADERS_BELOW)


class Retransmission:
    """When a client sends again: RFC 6298 as deployed clients have it, 2 to 30 s."""

    FLOOR_S: Final = 2.0
    CEILING_S: Final = 30.0
    TRIES_AT_FIRST: Final = 3  # nobody has ever answered
    TRIES: Final = 8

    def __init__(self) -> None:
        self._smoothed_s: float | None = None
        self._variation_s = 0.0

    @property
    def tries(self) -> int:
        """How often to send a message before giving up."""
        return self.TRIES_AT_FIRST if self._smoothed_s is None else self.TRIES

    def measured(self, round_trip_s: float) -> None:
        """Take in the time of an answer to a message that was sent once."""
        if self._smoothed_s is None:
            self._smoothed_s, self._variation_s = round_trip_s, round_trip_s / 2
            return
        error_s = round_trip_s - self._smoothed_s
        self._smoothed_s += error_s / 8
        self._variation_s += (abs(error_s) - self._variation_s) / 4

    def wait_s(self, sent: int) -> float:
        """How long to wait for an answer after the message was sent `sent` times."""
        base_s = 0.0 if self._smoothed_s is None else self._smoothed_s + 4 * self._variation_s
        return min(max(base_s, self.FLOOR_S) * float(1 << (sent - 1)), self.CEILING_S)
