from __future__ import annotations

import pytest

from dstmrouter.pipeline import reasons
from dstmrouter.pipeline.bindings import RowKind
from dstmrouter.pipeline.hops import HopState
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
