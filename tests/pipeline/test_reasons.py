from __future__ import annotations

import numpy as np
import pytest

from dstmrouter.pipeline import reasons
from dstmrouter.pipeline.bindings import RowKind
from dstmrouter.pipeline.decide import survivors
from dstmrouter.pipeline.hops import HopState, HopTable
from dstmrouter.pipeline.verdict import Verdict


@pytest.mark.parametrize("kind", RowKind)
def test_no_kind_of_row_turns_a_drop_into_something_sent(kind: RowKind) -> None:
    for table in (reasons.NOT_BOUND, reasons.SPOOFED):
        assert not Verdict(table[kind]).forwarded  # type: ignore[call-arg]  # mypy sees __new__


@pytest.mark.parametrize("state", set(HopState) - {HopState.RESOLVED})
def test_no_state_of_a_hop_turns_a_drop_into_something_sent(state: HopState) -> None:
    assert not Verdict(reasons.NO_HOP[state]).forwarded  # type: ignore[call-arg]  # as above


def test_reasons_say_why() -> None:
    assert reasons.NOT_BOUND[RowKind.NOT_POOL] == Verdict.DROP_NOT_POOL
    assert reasons.NOT_BOUND[RowKind.LOCAL] == Verdict.DROP_LOCAL
    assert reasons.NOT_BOUND[RowKind.BOUND] == Verdict.DROP_NO_BINDING, "its time is over"
    assert reasons.NOT_BOUND[RowKind.NO_SET] == Verdict.DROP_NO_BINDING
    assert reasons.SPOOFED[RowKind.NO_SET] == Verdict.DROP_SPOOF_PORT
    for table in (reasons.NOT_BOUND, reasons.SPOOFED):
        assert table[RowKind.NO_PORT] == Verdict.DROP_NO_PORT
        assert table[RowKind.DAMAGED] == Verdict.DROP_ICMP_DAMAGED
    assert reasons.SPOOFED[RowKind.LOCAL] == Verdict.DROP_SPOOF_ADDRESS
    assert reasons.NO_HOP[HopState.GLEAN] == Verdict.DROP_NEIGHBOUR


def test_tables_have_an_entry_for_every_octet() -> None:
    assert [len(t) for t in (reasons.NOT_BOUND, reasons.SPOOFED, reasons.NO_HOP)] == [256] * 3


@pytest.mark.parametrize("state", HopState)
@pytest.mark.parametrize("others", [False, True])
def test_next_hops_are_refused_for_their_state_alone(state: HopState, *, others: bool) -> None:
    hops = HopTable(np.zeros(8, np.uint64))
    hops.set(5, b"\xff" * 6, 0xFF, state)
    hops.set(6, bytes(6), 0, HopState.RESOLVED)
    words = hops.words_of(np.array([5, 6 if others else 5], np.uint32))
    verdicts = np.zeros(2, np.uint8)
    survivors(reasons.unresolved(words), verdicts, np.arange(2))
    wanted = 0 if state == HopState.RESOLVED else int(reasons.NO_HOP[state])
    assert verdicts.tolist() == [wanted, 0 if others else wanted]
