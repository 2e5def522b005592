"""Identifications of fragments (RFC 7739; R18)."""

from __future__ import annotations

import numpy as np

from dstmrouter.pipeline.fragment_ids import FragmentIds
from dstmrouter.pipeline.rules import WorkerIdentity


def ids(number: int = 0, workers: int = 1, seed: bytes = b"secret") -> FragmentIds:
    return FragmentIds(WorkerIdentity(number=number, workers=workers, seed=seed))


def test_none_comes_twice() -> None:
    source = ids()
    drawn = np.concatenate([source.draw(n) for n in (1, 0, 1023, 200_000)])
    assert len(np.unique(drawn)) == 201_024


def test_workers_of_one_seed_never_draw_the_same() -> None:
    drawn = [ids(number, 3).draw(50_000) for number in range(3)]
    assert len(np.unique(np.concatenate(drawn))) == 150_000


def test_a_worker_that_has_gone_round_begins_again_with_its_own() -> None:
    source = ids(1, 2)
    first = source.draw(3)
    source._used = (1 << 31) - 1
    again = source.draw(4)
    assert again[1:].tolist() == first.tolist()


def test_they_look_random_and_differ_from_start_to_start() -> None:
    drawn = ids().draw(4096)
    steps = np.diff(drawn.astype(np.int64))
    assert len(np.unique(steps)) > 4000
    for bit in range(32):
        ones = np.count_nonzero(drawn >> np.uint32(bit) & np.uint32(1))
        assert 1800 < ones < 2300
    assert not np.intersect1d(drawn, ids(seed=b"other").draw(4096)).size > 10
