"""The compiled look-up of path MTUs finds what the numpy one finds."""

from __future__ import annotations

import numpy as np
import pytest

from dstmrouter.jit.functions import address
from dstmrouter.pipeline.compiled import path_mtus
from dstmrouter.pipeline.compiled.views import World
from dstmrouter.pipeline.pathmtu import AGE_S, UNKNOWN, PathMtus

U = np.uint64


@pytest.fixture
def mtus() -> PathMtus:
    table = PathMtus(bytearray(PathMtus.SIZE))
    table.lay_out((0x123456789ABCDEF1, 0xFEDCBA9876543210))
    return table


def world(mtus: PathMtus) -> World:
    numbers = dict.fromkeys(World._fields, U(0))
    numbers |= {"path_mtus": address(mtus.head), "path_mtu_entries": address(mtus.entries)}
    return World(**numbers)


def test_every_client_has_the_mtu_that_numpy_finds(mtus: PathMtus) -> None:
    seen = world(mtus)
    clients = np.random.default_rng(5).integers(0, 1 << 63, (300, 2), dtype=np.uint64)
    for number, client in enumerate(clients[:200]):
        assert mtus.learn(client.reshape(1, 2), 1280 + number, number)
    for now_s in (200, AGE_S, AGE_S + 100, AGE_S + 1000):
        expected = mtus.look_up(clients, now_s).tolist()
        found = [int(path_mtus.look_up(seen, client[0], client[1], U(now_s))) for client in clients]
        assert found == expected
        assert bool(path_mtus.any_known(seen, U(now_s))) == mtus.any_known(now_s)
    assert mtus.look_up(clients[200:], 200).tolist() == [UNKNOWN] * 100
