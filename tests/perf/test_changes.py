"""The sequence of changes that the benches push."""

from __future__ import annotations

import itertools
import threading

import pytest

from perf.changes import Background, Changes

COUNT, DELTA = 10, 4


def test_every_change_gives_an_address_to_another_client() -> None:
    changes = Changes(COUNT, DELTA, None)
    first = changes.owners[0]
    holder = dict(zip(first.ipv4.tolist(), map(tuple, first.client6), strict=True))
    assert len(holder) == COUNT
    seen = set()
    for part in itertools.islice(iter(changes.next, None), 9):
        assert 0 < len(part) <= DELTA
        for address, words in zip(part.ipv4.tolist(), part.client6, strict=True):
            assert holder[address] != tuple(words)
            holder[address] = tuple(words)
            seen.add(address)
    assert len(seen) == COUNT


def test_changes_are_paced() -> None:
    paced, free = Changes(COUNT, DELTA, 0.01), Changes(COUNT, DELTA, None)
    for changes in (paced, free):
        assert changes.wait_s() == 0
        changes.next()
    assert 300 < paced.wait_s() <= 400  # 4 changes at one in 100 s
    assert free.wait_s() == 0


def test_a_rate_begins_with_the_first_change() -> None:
    connected = threading.Event()

    def work(background: Background) -> int:
        connected.set()
        background.begin()
        background.stop.wait()
        return 7

    with Background(work) as changing:
        assert connected.is_set()
    assert changing.rate > 0


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_whoever_fails_before_that_is_heard() -> None:
    def work(_: Background) -> int:
        raise LookupError("no router")

    with pytest.raises(LookupError, match="no router"), Background(work):
        pass
