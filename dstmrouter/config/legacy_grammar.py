"""The notation of ENST's files; no description of it survives, only files.

`rpcdstmd.conf` is written like ISC's dhcpd.conf: statements end with `;` or have a block in braces.
The two `.args` files hold one `key=value` or `key: value` a line. In all, `#` begins a comment.
"""

from __future__ import annotations

import dataclasses
import re
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

WORD: Final = re.compile(r"[{};]|[^\s{};]+")
PAIR: Final = re.compile(r"([A-Za-z0-9_-]+)\s*[=:]\s*(.*)")


class RefusedError(Exception):
    """One line of the file that cannot be used."""

    def __init__(self, line: int, text: str) -> None:
        super().__init__(f"line {line}: {text}")


@dataclasses.dataclass(frozen=True, slots=True)
class Statement:
    """Words up to `;` or `{`, and the statements between the braces."""

    line: int
    words: tuple[str, ...]
    block: tuple[Statement, ...] | None = None


def lines(text: str) -> Iterator[tuple[int, str]]:
    """Number and text of the lines that hold more than a comment."""
    for number, line in enumerate(text.splitlines(), 1):
        if meant := line.partition("#")[0].strip():
            yield number, meant


def pair(number: int, line: str) -> tuple[str, str]:
    """Split one line of an `.args` file."""
    match = PAIR.fullmatch(line)
    if match is None:
        raise RefusedError(number, f"{line:.40}: expected key=value or key: value")
    return match[1], match[2]


def statements(text: str) -> tuple[Statement, ...]:
    """Split a configuration into statements; blocks do not nest."""
    top: list[Statement] = []
    inside: list[Statement] | None = None
    head: list[tuple[int, str]] = []
    for line, word in _words(text):
        if word not in {";", "{", "}"}:
            head.append((line, word))
        elif word == ";":
            (top if inside is None else inside).append(_statement(line, head))
        elif word == "{" and inside is None:
            top.append(_statement(line, head))
            inside = []
        elif word == "}" and inside is not None:
            _demand_end(head)
            top[-1] = dataclasses.replace(top[-1], block=tuple(inside))
            inside = None
        else:
            raise RefusedError(line, f"{word} does not belong here")
    _demand_end(head)
    if inside is not None:
        raise RefusedError(top[-1].line, f"{top[-1].words[0]}: its {{ is never closed")
    return tuple(top)


def _words(text: str) -> Iterator[tuple[int, str]]:
    for number, line in lines(text):
        for word in WORD.findall(line):
            yield number, word


def _statement(line: int, head: list[tuple[int, str]]) -> Statement:
    if not head:
        raise RefusedError(line, "expected a keyword before ; or {")
    made = Statement(head[0][0], tuple(word for _, word in head))
    head.clear()
    return made


def _demand_end(head: list[tuple[int, str]]) -> None:
    if head:
        raise RefusedError(head[-1][0], f"expected ; after {head[-1][1]}")
