"""Status codes of the Tunnel Setup Protocol (RFC 5572) as one table.

Peers match the digits and never the text. A code with 1000 added is a redirection: the list of
other brokers follows it. Deployed clients take any code above 1000 for one.
"""

from __future__ import annotations

from enum import IntEnum
from typing import Final

from dstmrouter.errors import DecodeError

REDIRECTION: Final = 1000


class Status(IntEnum):
    """A code, its text on the wire, and what it means here."""

    text: str
    help: str

    def __new__(cls, code: int, text: str, meaning: str) -> Status:
        """Attach the texts to the number."""
        self = int.__new__(cls, code)
        self._value_ = code
        self.text = text
        self.help = meaning
        return self

    SUCCESS = 200, "Success", "done"
    AUTHENTICATION_FAILED = (
        300,
        "Authentication failed",
        "wrong credentials, unknown user or mechanism: which of them is not told",
    )
    NO_TUNNEL = 301, "No more tunnels available", "no address is free, or the client has no lease"
    BAD_VERSION = 302, "Unsupported client version", "neither 2.0.0, 2.0.1 nor 2.0.2"
    BAD_TUNNEL_TYPE = 303, "Unsupported tunnel type", "another tunnel than v4v6"
    SERVER_ERROR = 310, "Server side error", "an offer that was over before it was accepted"
    BAD_REQUEST = 500, "Invalid request format or specified length", "no TSP, or too long"
    BAD_IPV4 = 501, "Invalid IPv4 address", "an IPv4 address that cannot be read"
    BAD_IPV6 = 502, "Invalid IPv6 address", "the client's address is not the sender's, or unusable"
    IN_USE = 506, "IPv4 address already used", "the sender's lease belongs to another user"
    BAD_PREFIX_LEN = 507, "Requested prefix length cannot be assigned", "a prefix, but not a /32"
    BUSY = 530, "Server busy, try again later", "a router has not confirmed, or too many sessions"

    def line(self, *, redirected: bool = False) -> bytes:
        """The status line, with its end."""
        return b"%d %s\r\n" % (self + REDIRECTION * redirected, self.text.encode("ascii"))


class TspError(DecodeError):
    """What a peer sent cannot be used; `status` is what it is told."""

    def __init__(self, status: Status, text: str) -> None:
        super().__init__(text)
        self.status = status
