from __future__ import annotations

import numpy as np
import pytest

from dstmrouter.pipeline.hops import (
    FIXED_HOPS,
    GLEAN_HOP,
    LOCAL_HOP,
    NO_MAC,
    UNREACHABLE_HOP,
    HopState,
    HopTable,
    same,
)

MAC = bytes.fromhex("020000000a0b")


def table(capacity: int = 8) -> HopTable:
    hops = HopTable(np.zeros(capacity, np.uint64))
    hops.lay_out()
    return hops


def test_fixed_hops_mean_what_they_say_and_others_lead_nowhere() -> None:
    taken = table().take(np.arange(8, dtype=np.uint32))
    expected = [HopState.UNREACHABLE] * 8
    expected[LOCAL_HOP] = HopState.LOCAL
    expected[GLEAN_HOP] = HopState.GLEAN
    assert taken["state"].tolist() == expected
    assert UNREACHABLE_HOP == 0


def test_a_hop_is_read_as_it_was_set() -> None:
    hops = table()
    hops.set(5, MAC, 7, HopState.RESOLVED)
    hop = hops.take(np.array([5, 6], np.uint32))
    assert hop["mac"][0].tobytes() == MAC
    assert hop["port"].tolist() == [7, 0]
    assert hop["state"].tolist() == [HopState.RESOLVED, HopState.UNREACHABLE]
    assert hop["mac"][1].tobytes() == NO_MAC


def test_octets_in_memory_are_mac_port_state() -> None:
    hops = table()
    hops.set(FIXED_HOPS, MAC, 3, HopState.RESOLVED)
    assert hops.words.tobytes()[FIXED_HOPS * 8 : FIXED_HOPS * 8 + 8] == MAC + b"\x03\x01"


def test_two_views_share_the_words() -> None:
    memory = bytearray(8 * 8)
    writer = HopTable(np.frombuffer(memory, np.uint64))
    reader = HopTable(np.frombuffer(memory, np.uint64))
    writer.lay_out()
    writer.set(4, MAC, 1, HopState.UNRESOLVED)
    assert reader.take(np.array([4], np.uint32))["state"][0] == HopState.UNRESOLVED


@pytest.mark.parametrize("asked", [[], [5], [5, 5, 5], [5, 6, 5], [6, 6]])
def test_words_are_those_of_the_hops_whether_they_are_one_or_several(asked: list[int]) -> None:
    hops = table()
    hops.set(5, MAC, 7, HopState.RESOLVED)
    column = np.array(asked, np.uint32)
    words = hops.words_of(column)
    assert words.tolist() == hops.words[asked].tolist()
    assert same(words) == (len(set(asked)) == 1)
    assert not same(words[np.arange(len(asked))]), "what is picked is a column as any other"
    if len(set(asked)) == 1:
        assert hops.words_of(column, known_alike=True).tolist() == words.tolist()


def test_a_word_that_was_read_is_a_copy() -> None:
    hops = table()
    hops.set(5, MAC, 7, HopState.RESOLVED)
    words = hops.words_of(np.array([5, 5], np.uint32))
    before = words.tolist()
    hops.set(5, NO_MAC, 0, HopState.UNREACHABLE)
    assert words.tolist() == before


@pytest.mark.parametrize("asked", [[8, 8], [8, 5]])
def test_hops_that_do_not_exist_are_an_error(asked: list[int]) -> None:
    with pytest.raises(IndexError):
        table(8).words_of(np.array(asked, np.uint32))
