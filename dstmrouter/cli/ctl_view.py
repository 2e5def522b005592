"""How dstmctl shows answers to people: tables that keep whatever a newer daemon adds."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from rich.table import Table
from rich.text import Text

from dstmrouter.binding import USAGE_FIELDS

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

LEASE_FIELDS: Final = ("ipv4", "client6", "identity", "state", "expires_in_s", "lease_id")
HOLDING_FIELDS: Final = ("ipv4", "client6", "identity", "since", "until", "lease_id")
BINDING_FIELDS: Final = ("ipv4", "psid", "client6", "tep6", "source", "expires_in_s")
PORT_FIELDS: Final = ("port", "link", "worker", "mode", "sends")
COUNTER_FIELDS: Final = ("name", "packets", "octets", "help")
NUMBERS: Final = frozenset(
    {"count", "packets", "octets", "packets_s", "octets_s", "rows", "refused", *USAGE_FIELDS}
)


def rows_table(title: str, rows: Sequence[dict[str, Any]], fields: Iterable[str]) -> Table:
    """One line per row: `fields` first, then every other key that any row has."""
    columns = dict.fromkeys(fields)
    for row in rows:
        columns |= dict.fromkeys(row)
    table = Table(title=title, title_justify="left")
    for name in columns:
        numeric = name in NUMBERS or name.endswith("_s")
        table.add_column(_heading(name), justify="right" if numeric else "left", overflow="fold")
    for row in rows:
        table.add_row(*(Text(cell_text(name, row.get(name))) for name in columns))
    return table


def facts_table(title: str, facts: dict[str, Any]) -> Table:
    """Key and value of the plain facts; lists of maps have tables of their own."""
    table = Table(title=title, title_justify="left", show_header=False)
    for name, value in facts.items():
        if not is_rows(value):
            table.add_row(_heading(name), Text(cell_text(name, value)))
    return table


def is_rows(value: object) -> bool:
    """Whether a value of an answer is a list of maps: a table of its own."""
    return isinstance(value, list) and bool(value) and all(isinstance(row, dict) for row in value)


def cell_text(name: str, value: object) -> str:
    """Text of one value: seconds as a duration, nested values flat, nothing as a dash."""
    if value is None or value in ("", [], {}):
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if name.endswith("_s") and isinstance(value, int | float):
        return _duration(value)
    if isinstance(value, dict):
        return ", ".join(f"{key} {cell_text(str(key), item)}" for key, item in value.items())
    if isinstance(value, list):
        return ", ".join(cell_text("", item) for item in value)
    return f"{value:,}" if isinstance(value, int) and name in NUMBERS else str(value)


def with_rates(
    now: list[dict[str, Any]], before: list[dict[str, Any]], seconds: float
) -> list[dict[str, Any]]:
    """Counter rows with packets and octets per second since `before`, `seconds` ago."""
    former = {row["name"]: row for row in before}
    rated = []
    for row in now:
        old = former.get(row["name"], row)
        rates = {
            f"{unit}_per_s": round((row[unit] - old[unit]) / seconds)
            for unit in ("packets", "octets")
        }
        rated.append(row | rates)
    return rated


def _heading(name: str) -> str:
    return name.removesuffix("_s").replace("_", " ")


def _duration(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.3g} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02} min" if hours else f"{minutes} min {rest:02} s"
