from __future__ import annotations

import pytest

from dstmrouter.errors import DecodeError
from dstmrouter.protocols.sasl_text import TEXT_LIMIT, decoded, prepared


@pytest.mark.parametrize(
    ("text", "canonical"),
    [  # RFC 4013 section 3
        ("I\u00adX", "IX"),
        ("user", "user"),
        ("USER", "USER"),
        ("\u00aa", "a"),
        ("\u2168", "IX"),
        ("a\u00a0b", "a b"),
        ("\u0627\u0628", "\u0627\u0628"),
    ],
)
def test_texts_have_one_form(text: str, canonical: str) -> None:
    assert prepared(text) == canonical
    assert decoded(text.encode()) == canonical


@pytest.mark.parametrize(
    "text",
    ["", "\u0007", "\u06271", "a\u0627b", "x" * (TEXT_LIMIT + 1), "\ue000", "a\0b", "\u00ad"],
)
def test_some_texts_are_refused(text: str) -> None:
    with pytest.raises(DecodeError):
        prepared(text)


def test_octets_must_be_utf8() -> None:
    with pytest.raises(DecodeError, match="UTF-8"):
        decoded(b"\xff")
