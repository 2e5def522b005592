from __future__ import annotations

from typing import Any

import pytest
from rich.console import Console

from dstmrouter.cli.ctl_view import cell_text, facts_table, is_rows, rows_table, with_rates


def drawn(table: Any) -> str:
    console = Console(width=120, record=True, quiet=False, file=None)
    with console.capture() as capture:
        console.print(table)
    return capture.get()


@pytest.mark.parametrize(
    ("name", "value", "text"),
    [
        ("ipv4", None, "-"),
        ("ports", [], "-"),
        ("stale", False, "no"),
        ("generation", 12345, "12345"),
        ("packets", 12345, "12,345"),
        ("heard_s", 0, "0 s"),
        ("heard_s", 1.25, "1.25 s"),
        ("expires_in_s", 600, "10 min 00 s"),
        ("uptime_s", 90061, "25 h 01 min"),
        ("uptime_s", None, "-"),
        ("statistics", {"a": 1, "heard_s": 2}, "a 1, heard_s 2 s"),
        ("tep6", ["2001:db8::1", "2001:db8::2"], "2001:db8::1, 2001:db8::2"),
    ],
)
def test_cells(name: str, value: object, text: str) -> None:
    assert cell_text(name, value) == text


def test_rows_have_every_key_of_every_row() -> None:
    text = drawn(rows_table("t", [{"a": 1}, {"b": 2, "c": {"d": 3}}], ("a",)))
    for expected in ("a", "b", "c", "d 3"):
        assert expected in text


def test_markup_of_a_stranger_is_shown_as_text() -> None:
    assert "[red]x" in drawn(rows_table("t", [{"identity": "[red]x"}], ()))
    assert "[bold]y" in drawn(facts_table("t", {"identity": "[bold]y"}))


def test_lists_of_maps_are_left_to_tables_of_their_own() -> None:
    assert is_rows([{"a": 1}])
    assert not is_rows([])
    assert not is_rows(["a"])
    assert "routers" not in drawn(facts_table("t", {"routers": [{"a": 1}], "b": 2}))


def test_rates_since_the_last_look() -> None:
    before = [{"name": "a", "packets": 100, "octets": 1000}]
    now = [
        {"name": "a", "packets": 300, "octets": 9000},
        {"name": "new", "packets": 5, "octets": 5},
    ]
    rated = with_rates(now, before, 2.0)
    assert [(r["packets_per_s"], r["octets_per_s"]) for r in rated] == [(100, 4000), (0, 0)]
