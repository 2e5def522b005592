from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from dstmrouter.pipeline.outcome import Outcome, by_port


def test_packets_of_one_port_stay_together_uncopied() -> None:
    assert list(by_port(np.array([3, 3, 3], np.uint8))) == [(3, slice(None))]


@given(st.lists(st.integers(0, 7), min_size=1, max_size=40))
def test_every_packet_is_in_the_group_of_its_port_in_order(ports: list[int]) -> None:
    column = np.array(ports, np.uint8)
    rows = np.arange(len(ports))
    groups = {port: rows[part].tolist() for port, part in by_port(column)}
    assert groups == {
        port: [row for row in range(len(ports)) if ports[row] == port] for port in set(ports)
    }


def test_outcomes_share_no_lists() -> None:
    one, other = Outcome(np.zeros(1, np.uint8)), Outcome(np.zeros(1, np.uint8))
    one.gleaned.append(np.zeros(1, np.uint32))
    assert other.gleaned == []
    assert other.sends == []
