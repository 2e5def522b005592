from __future__ import annotations

from dstmrouter.daemon.datagram_socket import DatagramTally
from dstmrouter.daemon.stream_connection import StreamTally
from dstmrouter.daemon.tsp_tally import TspTally
from dstmrouter.protocols.tsp_state import Ending


def test_every_ending_has_a_counter() -> None:
    for ending in Ending:
        assert TspTally[ending.name].help == ending.value


def test_every_counter_has_a_name_of_its_own_and_a_help_text() -> None:
    rows = [kind for table in (TspTally, StreamTally, DatagramTally) for kind in table]
    assert len({kind.value for kind in rows}) == len(rows)
    assert all(kind.help for kind in rows)
