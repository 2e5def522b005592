"""docs/datapath.md names every rule, and tests and counters that there are."""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path
from typing import Final

import pytest

from dstmrouter.pipeline.verdict import Verdict

TESTS: Final = Path(__file__).parent
TEXT: Final = (TESTS.parent / "docs" / "datapath.md").read_text(encoding="utf-8")
RULES: Final = 31
ROWS: Final = re.findall(r"^\| (R\d+) \| (.*) \| (.*) \| (.*) \| (.*) \|$", TEXT, re.MULTILINE)
OURS: Final = {"VPP": 10, "Snabb": 12}


@cache
def functions(name: str) -> set[str]:
    """Top-level functions of a file below tests/."""
    tree = ast.parse((TESTS / name).read_text(encoding="utf-8"))
    return {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}


def test_every_rule_has_a_row() -> None:
    assert [rule for rule, *_ in ROWS] == [f"R{number}" for number in range(1, RULES + 1)]


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row[0])
def test_a_row_names_what_there_is(row: tuple[str, ...]) -> None:
    _, what, rfc, counters, tests = row
    assert what
    assert re.fullmatch(r"\d{3,4}( [\d.]+)?(, (\d{3,4}( [\d.]+)?|[\d.]+))*", rfc)
    assert set(re.findall(r"`(\w+)`", counters)) <= {verdict.name for verdict in Verdict}
    assert counters.strip()
    named = tests.split()
    assert named
    for test in named:
        file, _, function = test.partition("::")
        assert function in functions(file), test


def test_every_shortcoming_has_its_test() -> None:
    """By number; see the section on others in the document."""
    files = [
        f"{place}/{name}.py"
        for place in ("pipeline", "netns")
        for name in ("test_shortcomings", "test_bursts")
        if (TESTS / place / f"{name}.py").exists()
    ]
    found = {
        (match[1], int(match[2]))
        for file in files
        for name in functions(file)
        if (match := re.match(r"test_(vpp|snabb)_(\d+)_", name))
    }
    wanted = {(who.lower(), n) for who, most in OURS.items() for n in range(1, most + 1)}
    assert found == wanted


def test_every_verdict_belongs_to_a_rule() -> None:
    """But for those of Ethernet, of filters and of the router itself."""
    named = {name for row in ROWS for name in re.findall(r"`(\w+)`", row[3])}
    apart = {"DROP_NOT_IP", "DROP_VLAN", "DROP_TX_FULL", "UNSENT_NO_WAY"}
    apart |= {"DROP_FILTER_IN", "DROP_FILTER_OUT"}
    assert {verdict.name for verdict in Verdict} - named == apart
