from __future__ import annotations

from dstmrouter.daemon.tsp_counters import HELP, Count, TspCounters
from dstmrouter.protocols.tsp_state import Ending


def test_every_counter_has_a_name_of_its_own_and_a_help_text() -> None:
    assert len(HELP) == len(Count) + len(Ending)
    assert all(HELP.values())


def test_what_is_counted_is_shown() -> None:
    counters = TspCounters()
    counters.count(Count.GRANTS)
    counters.count(Count.GRANTS)
    counters.count(Ending.MALFORMED)
    assert counters[Count.GRANTS] == 2
    rows = {row["name"]: row["count"] for row in counters.rows()}
    assert list(rows) == list(HELP)
    assert {name: count for name, count in rows.items() if count} == {"grants": 2, "malformed": 1}
