"""Several rounds of one compiled turn, over ports that compiled code can flush."""

from __future__ import annotations

from typing import Final

import numpy as np
import pytest

from dstmrouter.io.compiled.xdpframes import SENDING
from dstmrouter.io.xdpport import STATE
from dstmrouter.jit.functions import address
from dstmrouter.pipeline.verdict import Verdict
from tests.daemon.compiled.ringrouter import PORTS, Router
from tests.pipeline import worlds
from tests.pipeline.examples import EXAMPLES

ENCAPSULATED: Final = EXAMPLES[Verdict.ENCAPSULATED].frame
TTL: Final = EXAMPLES[Verdict.DROP_TTL].frame


def large(flushes: list[Flush]) -> Router:
    """One whose rings hold more than a burst, after its first turn."""
    places = [flush.place for flush in flushes]
    router = Router("handover", slots=1024, frames=16_384, flush_places=places)
    router.turn()
    return router


class Flush:
    """What compiled code flushes a port with that has nothing to send."""

    def __init__(self) -> None:
        self._state, self._record = np.zeros(1, STATE), np.zeros(1, SENDING)
        self._zero = np.zeros(1, np.uint32)
        self._record["state"] = address(self._state)
        self._record["keep_every"] = 1
        for index in ("produced", "consumed", "fill_flags"):
            self._record[index] = address(self._zero)
        self.place = int(address(self._record))
        self.needs_python = self._state["in_socket"].data


@pytest.mark.parametrize(
    ("wanted", "packets", "rounds", "received"),
    [(1, 600, 1, 512), (8, 600, 3, 600), (2, 600, 2, 600), (8, 512, 2, 512), (8, 0, 1, 0)],
)
def test_rounds_go_on_while_packets_come(
    wanted: int, packets: int, rounds: int, received: int
) -> None:
    flushes = [Flush() for _ in range(PORTS)]
    router = large(flushes)
    router.ports[worlds.INTERNET].arrive([ENCAPSULATED] * packets)
    assert router.turn(rounds=wanted) == received
    assert router.engine.rounds == rounds
    assert router.count(Verdict.ENCAPSULATED) == received


def test_rounds_end_where_python_is_wanted() -> None:
    flushes = [Flush() for _ in range(PORTS)]
    router = large(flushes)
    router.ports[worlds.INTERNET].arrive([*[ENCAPSULATED] * 600, TTL])
    flushes[-1].needs_python[0] = 1  # a flush
    assert router.turn(rounds=8) == 512
    flushes[-1].needs_python[0] = 0
    router.ports[worlds.INTERNET].arrive([ENCAPSULATED] * 200)  # behind the one that is left
    assert router.turn(rounds=8) == 289
    assert router.engine.rounds == 1
    assert router.turn(rounds=8) == 0
    assert router.count(Verdict.DROP_TTL) == 1
    assert router.count(Verdict.ENCAPSULATED) == 800


def test_ports_that_only_python_can_flush_have_one_round() -> None:
    router = large([Flush()])
    router.ports[worlds.INTERNET].arrive([ENCAPSULATED] * 600)
    assert router.turn(rounds=8) == 512
    assert router.engine.rounds == 1
