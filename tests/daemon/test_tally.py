from __future__ import annotations

import collections

from dstmrouter.daemon.tally import Tally, tally_rows


class Fruit(Tally):
    APPLE = "apples", "red ones"
    PEAR = "pears", "green ones"


def test_all_counters_are_shown_with_their_help() -> None:
    counts: collections.Counter[Tally] = collections.Counter()
    counts[Fruit.PEAR] += 2
    assert tally_rows(Fruit, counts) == [
        {"name": "apples", "count": 0, "help": "red ones"},
        {"name": "pears", "count": 2, "help": "green ones"},
    ]
