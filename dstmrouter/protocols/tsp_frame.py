r"""Framing of the Tunnel Setup Protocol: lines first, then bodies with a length.

Up to the end of authentication a message is a line; then it is `Content-length: N` and N octets
(RFC 5572 section 4.4). Tolerant in reading, because deployed clients end lines by `\n`, add a NUL
after AUTHENTICATE lines, spell the header in their own way and miscount final line ends; exact in
writing, because they match `Content-length: ` as it stands here.
"""

from __future__ import annotations

import re
from typing import Final

from dstmrouter.errors import DecodeError

LINE_LIMIT: Final = 1024
"""Octets of a line without its end. A SCRAM or DIGEST-MD5 answer in base64 takes about 400."""

FRAME_LIMIT: Final = 8192
"""Octets of a body. Requests take about 200; deployed clients read 4,096 at most."""

_CONTENT_LENGTH: Final = re.compile(rb"content-length\s*:\s*([0-9]{1,5})\s*", re.IGNORECASE)
_PADDING: Final = b"\0\r\n"


class ReceiveBuffer:
    """Octets of a peer, in whatever pieces they come; holds no more than one message."""

    def __init__(self) -> None:
        self._octets = bytearray()

    def __len__(self) -> int:
        return len(self._octets)

    def receive_data(self, data: bytes) -> None:
        """Add octets; `room` says how many a caller should take from the network at most."""
        self._octets += data

    @property
    def room(self) -> int:
        """Octets that may come before some are taken out; a sender must wait for that."""
        return max(0, LINE_LIMIT + FRAME_LIMIT - len(self._octets))

    @property
    def blank(self) -> bool:
        """Whether nothing but padding is left."""
        return not self._octets.strip(_PADDING)

    def line(self) -> bytes | None:
        """Take out one line without its end, NULs included; None while it is incomplete."""
        end = self._octets.find(b"\n", 0, LINE_LIMIT + 2)
        if end < 0:
            if len(self._octets) >= LINE_LIMIT + 2:
                raise DecodeError(f"a line of more than {LINE_LIMIT} octets")
            return None
        line = bytes(self._octets[:end]).removesuffix(b"\r")
        if len(line) > LINE_LIMIT:
            raise DecodeError(f"a line of more than {LINE_LIMIT} octets")
        del self._octets[: end + 1]
        return line

    def frame(self) -> bytes | None:
        """Take out the body of one frame; None while it is incomplete."""
        if not self._octets:
            return None
        start = len(self._octets) - len(self._octets.lstrip(_PADDING))
        if start > LINE_LIMIT:
            raise DecodeError("nothing but padding")
        end = self._octets.find(b"\n", start, start + LINE_LIMIT + 2)
        if end < 0:
            if len(self._octets) - start > LINE_LIMIT:
                raise DecodeError(f"a header of more than {LINE_LIMIT} octets")
            return None
        found = _CONTENT_LENGTH.fullmatch(self._octets, start, end)
        if found is None:
            raise DecodeError("expected Content-length")
        length = int(found[1])
        if not 0 < length <= FRAME_LIMIT:
            raise DecodeError(f"a frame of {length} octets, expected 1 to {FRAME_LIMIT}")
        if len(self._octets) < end + 1 + length:
            return None
        body = bytes(self._octets[end + 1 : end + 1 + length])
        del self._octets[: end + 1 + length]
        return body

    def until(self, mark: bytes) -> bytes | None:
        """Take out everything up to `mark`, included; None while it is not there."""
        end = self._octets.find(mark)
        if end < 0 or end + len(mark) > FRAME_LIMIT:
            if len(self._octets) > FRAME_LIMIT:
                raise DecodeError(f"a list of more than {FRAME_LIMIT} octets")
            return None
        taken = bytes(self._octets[: end + len(mark)])
        del self._octets[: end + len(mark)]
        return taken


def frame(body: bytes) -> bytes:
    """A body with its header, as it goes on the wire."""
    assert 0 < len(body) <= FRAME_LIMIT
    return b"Content-length: %d\r\n%s" % (len(body), body)
