"""Any octets lead to an answer or to a clean end, never to an error of ours."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from tests.protocols.tsp_fuzz import HELLO, PIECES, feed, fresh, run
from tests.protocols.tsp_samples import authenticated


@given(st.lists(st.binary(max_size=40) | st.sampled_from(PIECES), max_size=12))
def test_dialogues_of_any_octets(octets: list[bytes]) -> None:
    feed(fresh(), octets)


@given(st.lists(st.binary(max_size=40) | st.sampled_from(PIECES), max_size=12))
def test_requests_of_any_octets(octets: list[bytes]) -> None:
    feed(authenticated(), octets)


def test_damaged_dialogues_end_in_many_ways() -> None:
    endings = run(2_000, seed=1)
    assert endings.keys() >= {"MALFORMED", "AUTHENTICATION_FAILED", "OFFERED", "COMMAND"}


def test_the_fuzzer_s_undamaged_dialogue_is_good() -> None:
    server = fresh()
    feed(server, [*HELLO, *PIECES[8:10], *PIECES[11:13]])
    assert server.ending is None
