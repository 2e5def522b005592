from __future__ import annotations

import numpy as np

from dstmrouter.pipeline.hops import (
    FIXED_HOPS,
    GLEAN_HOP,
    LOCAL_HOP,
    NO_MAC,
    UNREACHABLE_HOP,
    HopState,
    HopTable,
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
