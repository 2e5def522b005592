"""What SASL mechanisms write: names and passwords (SASLprep, RFC 4013, stored strings), base64."""

from __future__ import annotations

import base64
import binascii
import stringprep
import unicodedata
from typing import TYPE_CHECKING, Final

from dstmrouter.errors import DecodeError

if TYPE_CHECKING:
    from collections.abc import Callable

TEXT_LIMIT: Final = 255  # characters of a user name or password

_PROHIBITED: Final[tuple[Callable[[str], bool], ...]] = (  # RFC 4013 section 2.3
    stringprep.in_table_a1,
    stringprep.in_table_c12,
    stringprep.in_table_c21_c22,
    stringprep.in_table_c3,
    stringprep.in_table_c4,
    stringprep.in_table_c5,
    stringprep.in_table_c6,
    stringprep.in_table_c7,
    stringprep.in_table_c8,
    stringprep.in_table_c9,
)


def prepared(text: str) -> str:
    """`text` in its one canonical form; DecodeError if it is empty, too long or not allowed."""
    mapped = (
        " " if stringprep.in_table_c12(character) else character
        for character in text[: TEXT_LIMIT + 1]
        if not stringprep.in_table_b1(character)
    )
    found = unicodedata.normalize("NFKC", "".join(mapped))
    if not 0 < len(found) <= TEXT_LIMIT or len(text) > TEXT_LIMIT:
        raise DecodeError(f"expected 1 to {TEXT_LIMIT} characters")
    if any(refuses(character) for refuses in _PROHIBITED for character in found):
        raise DecodeError("expected no control, private or unassigned characters")
    right_to_left = [stringprep.in_table_d1(character) for character in found]
    if any(right_to_left):  # RFC 3454 section 6
        mixed = any(stringprep.in_table_d2(character) for character in found)
        if mixed or not (right_to_left[0] and right_to_left[-1]):
            raise DecodeError("expected one direction of writing")
    return found


def decoded(octets: bytes) -> str:
    """The canonical form of UTF-8 `octets`; DecodeError as in `prepared`."""
    try:
        return prepared(octets.decode("utf-8"))
    except UnicodeDecodeError:
        raise DecodeError("expected UTF-8") from None


def unbase64(text: bytes) -> bytes:
    """Decode base64; DecodeError if it is not."""
    try:
        return base64.b64decode(text, validate=True)
    except binascii.Error:
        raise DecodeError("expected base64") from None
