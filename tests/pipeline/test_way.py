from __future__ import annotations

import numpy as np

from dstmrouter.pipeline.bindings import ROW
from dstmrouter.pipeline.hops import HOP
from dstmrouter.pipeline.inner import Inner
from dstmrouter.pipeline.way import Way
from dstmrouter.wire import ipv4


def test_all_columns_are_taken_together() -> None:
    clients = np.zeros(3, ROW)
    clients["ipv4"] = [10, 11, 12]
    hops = np.zeros(3, HOP)
    hops["port"] = [1, 2, 3]
    at = np.array([100, 200, 300])
    inner = Inner(at, np.zeros(3, ipv4.PACKET), at + 1, np.array([7, 8, 9], np.uint32))
    numbers = np.array([20, 21, 22], np.uint32)
    way = Way(np.array([4, 5, 6]), inner, clients, numbers, hops.view(np.uint64))
    part = way.take(np.array([2, 0]))
    assert part.rows.tolist() == [6, 4]
    assert part.packets.total_len.tolist() == [301, 101]
    assert part.clients["ipv4"].tolist() == [12, 10]
    assert part.bindings.tolist() == [22, 20]
    assert part.hops["port"].tolist() == [3, 1]
