from __future__ import annotations

from dstmrouter.daemon.datagram_socket import DatagramTally
from dstmrouter.daemon.rpc_tally import RpcTally
from dstmrouter.daemon.stream_connection import StreamTally
from dstmrouter.protocols.oncrpc import AcceptStat


def test_every_failure_of_an_accepted_call_has_a_counter() -> None:
    assert {stat.name for stat in AcceptStat} - {"SUCCESS"} <= set(RpcTally.__members__)


def test_names_are_different_in_one_status() -> None:
    names = [kind.value for table in (RpcTally, StreamTally, DatagramTally) for kind in table]
    assert len(names) == len(set(names))
