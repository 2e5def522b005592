"""Stateless cookies: who sends one back has received it at the address it was made for.

As TCP's SYN cookies and DTLS' (RFC 9147 section 5.1): a keyed digest of address, port and time
window. Nothing is kept for a peer that never answers.
"""

from __future__ import annotations

import hmac
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from ipaddress import IPv6Address

WINDOW_S: Final = 30  # a cookie is good for this long, and up to twice as long
COOKIE_LEN: Final = 16  # octets: 128 bits cannot be guessed


class Cookies:
    """Makes and checks cookies with a secret `key`."""

    def __init__(self, key: bytes) -> None:
        self._key = key

    def issue(self, address: IPv6Address, port: int, now: float) -> bytes:
        """The cookie of a peer at `now` (monotonic seconds)."""
        return self._digest(address, port, int(now // WINDOW_S))

    def is_valid(self, cookie: bytes, address: IPv6Address, port: int, now: float) -> bool:
        """Whether `cookie` was issued to this peer in this window or the one before."""
        window = int(now // WINDOW_S)
        return any(
            hmac.compare_digest(cookie, self._digest(address, port, window - age)) for age in (0, 1)
        )

    def _digest(self, address: IPv6Address, port: int, window: int) -> bytes:
        message = address.packed + port.to_bytes(2, "big") + window.to_bytes(8, "big", signed=True)
        return hmac.digest(self._key, message, "sha256")[:COOKIE_LEN]
