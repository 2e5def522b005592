from __future__ import annotations

import numpy as np

from dstmrouter.pipeline.clients6 import ClientSet


def addresses(first: int, n: int) -> np.ndarray[tuple[int, ...], np.dtype[np.uint64]]:
    words = np.zeros((n, 2), np.uint64)
    words[:, 0], words[:, 1] = 0xB80D0120, np.arange(first, first + n)
    return words


def made(clients: int) -> ClientSet:
    found = ClientSet(bytearray(ClientSet.size(clients)), clients)
    found.lay_out((0x1234567890ABCDEF, 0xFEDCBA0987654321))
    return found


def test_clients_are_never_denied_and_strangers_seldom_taken_for_one() -> None:
    known = made(50_000)
    for first in range(0, 50_000, 10_000):
        known.add(addresses(first, 10_000))
    assert known.has(addresses(0, 50_000)).all()
    assert np.count_nonzero(known.has(addresses(1_000_000, 50_000))) < 50_000 * 0.03


def test_building_anew_forgets_those_that_have_gone() -> None:
    known = made(100)
    known.add(addresses(0, 100))
    known.rebuild(addresses(50, 50))
    assert known.has(addresses(50, 50)).all()
    assert np.count_nonzero(known.has(addresses(0, 50))) < 5
    known.add(addresses(0, 1))
    assert known.has(addresses(0, 1)).all()
    known.rebuild(addresses(0, 0))
    assert not known.has(addresses(0, 100)).any()


def test_more_clients_than_planned_fit_less_well() -> None:
    known = made(16)
    known.add(addresses(0, 5000))
    assert known.has(addresses(0, 5000)).all()
