from __future__ import annotations

import numpy as np

from dstmrouter.pipeline.keyed import drawn, key_of, mixed


def test_neighbours_spread_over_all_upper_bits() -> None:
    words = np.zeros((4096, 2), np.uint64)
    words[:, 1] = np.arange(4096)
    hashed = mixed(words, key_of(12345678901, 98765432109))
    assert len(np.unique(hashed)) == 4096
    buckets = np.bincount((hashed >> np.uint64(58)).astype(np.int64), minlength=64)
    assert buckets.min() > 20
    assert buckets.max() < 140


def test_both_words_and_the_key_count() -> None:
    words = np.array([[1, 2], [2, 1], [1, 3]], np.uint64)
    one, other = mixed(words, key_of(3 << 50, 5 << 50)), mixed(words, key_of(3 << 50, 7 << 50))
    assert len(set(one.tolist()) | set(other.tolist())) == 6


def test_keys_out_of_a_secret_differ_by_purpose_and_are_odd() -> None:
    assert drawn(b"s", "one") == drawn(b"s", "one")
    assert drawn(b"s", "one") != drawn(b"s", "two")
    assert drawn(b"s", "one") != drawn(b"t", "one")
    assert all(int(word) & 1 for word in drawn(b"s", "one"))
