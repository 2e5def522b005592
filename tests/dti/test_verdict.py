from __future__ import annotations

from dstmrouter.dti.verdict import Verdict


def test_values_are_places_in_an_array() -> None:
    assert [verdict.value for verdict in Verdict] == list(range(len(Verdict)))


def test_each_outcome_says_which_way_and_what() -> None:
    for verdict in Verdict:
        assert verdict.name.startswith(("OUT_", "IN_"))
    assert len({verdict.help for verdict in Verdict}) == len(Verdict)
