from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dstmrouter.config.legacy_grammar import RefusedError, Statement, lines, pair, statements


def test_statements_and_blocks() -> None:
    text = "a 1; b # x; y\n  2 {\n c;d 3;}"
    inside = (Statement(3, ("c",)), Statement(3, ("d", "3")))
    assert statements(text) == (Statement(1, ("a", "1")), Statement(1, ("b", "2"), inside))
    assert statements("# nothing\n") == ()


@pytest.mark.parametrize("text", ["a", "a; }", "a {", "a { b {", "a { b }", ";", "{"])
def test_unfinished_text_is_refused(text: str) -> None:
    with pytest.raises(RefusedError, match=r"^line 1: "):
        statements(text)


@given(st.text(alphabet="ab{};#\n ", max_size=40))
def test_layout_does_not_matter(text: str) -> None:
    def read(text: str) -> object:
        try:
            return [(one.words, one.block is None) for one in statements(text)]
        except RefusedError as error:
            return str(error).partition(":")[2]

    assert read(text.replace(" ", "  \t")) == read(text)
    assert read(text.replace("#", "\n#")) == read(text)


def test_pairs() -> None:
    text = "# x\nport=3545\n log : /a=b # c\n"
    found = [pair(number, line) for number, line in lines(text)]
    assert found == [("port", "3545"), ("log", "/a=b")]
    with pytest.raises(RefusedError, match="line 7: tsp 1: expected key=value or key: value"):
        pair(7, "tsp 1")
