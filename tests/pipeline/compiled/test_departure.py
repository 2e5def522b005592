"""Single steps of leaving against their numpy counterparts; `test_burst` has them all together."""

from __future__ import annotations

import numpy as np

from dstmrouter.pipeline.compiled import departure
from dstmrouter.pipeline.compiled.views import Views, World
from dstmrouter.pipeline.rules import TunnelRules
from tests.pipeline import worlds
from tests.pipeline.built import tables

U = np.uint64
WORLD = worlds.world()
TABLES = tables(WORLD)
VIEWS = Views(bytearray(4096), TABLES, TunnelRules(tep6=WORLD.rules.tep6))
SEEN = World(*(U(number) for number in VIEWS.numbers))


def test_every_address_has_the_hop_that_numpy_finds() -> None:
    starts = TABLES.routes4.starts.reshape(-1).astype(np.int64)
    asked = np.unique(np.concatenate([starts - 1, starts, starts + 1]) & 0xFFFFFFFF)
    asked = asked.astype(np.uint32)
    expected = TABLES.hops.words[TABLES.routes4.lookup(asked)].tolist()
    assert len(set(expected)) > 2
    moment = departure.Moment(*(U(number) for number in departure.moment_of(SEEN, U(0))))
    assert [int(departure.route(SEEN, moment, U(a))) for a in asked.tolist()] == expected
