from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from dstmrouter.pipeline.decide import alike, any_of, survivors
from dstmrouter.pipeline.verdict import Verdict

PLAIN = (Verdict.DROP_TTL, Verdict.DROP_VLAN, Verdict.DROP_LOCAL)


@given(st.lists(st.tuples(st.booleans(), st.booleans(), st.booleans()), max_size=20))
def test_the_first_rule_that_is_broken_is_the_verdict(broken: list[tuple[bool, ...]]) -> None:
    masks = np.array(broken, np.bool_).reshape(-1, 3).T
    verdicts = np.full(2 * len(broken) + 1, 99, np.uint8)
    rows = np.arange(len(broken), dtype=np.intp) * 2 + 1
    keep = survivors(list(zip(masks, PLAIN, strict=True)), verdicts, rows)
    found = list(range(len(broken))) if keep is None else keep.tolist()
    assert found == [row for row, rules in enumerate(broken) if not any(rules)]
    wanted = [PLAIN[rules.index(True)] if any(rules) else 99 for rules in broken]
    assert verdicts[1::2].tolist() == wanted
    assert set(verdicts[::2].tolist()) == {99}, "verdicts of packets that are not in rows"


def test_reasons_by_packet_are_made_when_they_are_wanted_only() -> None:
    asked = 0

    def reason() -> np.ndarray[tuple[int], np.dtype[np.uint8]]:
        nonlocal asked
        asked += 1
        return np.array([7, 8, 9], np.uint8)

    verdicts, rows = np.zeros(3, np.uint8), np.arange(3, dtype=np.intp)
    assert survivors([(np.zeros(3, np.bool_), reason)], verdicts, rows) is None
    assert asked == 0
    keep = survivors([(np.array([True, False, True]), reason)], verdicts, rows)
    assert keep is not None
    assert keep.tolist() == [1]
    assert verdicts.tolist() == [7, 0, 9]


@given(st.lists(st.booleans(), max_size=9), st.sampled_from([1, 2, -1]))
def test_any_of_is_any(entries: list[bool], step: int) -> None:
    mask = np.array(entries, np.bool_)[::step]
    assert any_of(mask) == mask.any()


@given(st.lists(st.integers(0, 2), max_size=5), st.sampled_from([1, 3]))
def test_alike_are_those_that_are_one_number(entries: list[int], step: int) -> None:
    column = np.repeat(np.array(entries, "<u4"), step)[::step]
    assert alike(column) == (len(set(entries)) == 1)
