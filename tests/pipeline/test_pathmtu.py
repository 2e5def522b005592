"""Path MTUs that were learnt (RFC 8201 section 4; R21)."""

from __future__ import annotations

from ipaddress import IPv6Address

import numpy as np
import pytest

from dstmrouter.binding import words6
from dstmrouter.pipeline.pathmtu import AGE_S, UNKNOWN, PathMtus

CLIENT, OTHER = (words6([IPv6Address(f"2001:db8::{n}")]) for n in (1, 2))


@pytest.fixture
def mtus() -> PathMtus:
    table = PathMtus(bytearray(PathMtus.SIZE))
    table.lay_out((11, 13))
    return table


def known(mtus: PathMtus, now_s: int) -> list[int]:
    found: list[int] = mtus.look_up(np.concatenate((CLIENT, OTHER)), now_s).tolist()
    return found


def test_nothing_is_known_at_first(mtus: PathMtus) -> None:
    assert not mtus.any_known(0)
    assert known(mtus, 0) == [UNKNOWN, UNKNOWN]


def test_what_was_learnt_is_known_for_ten_minutes(mtus: PathMtus) -> None:
    assert mtus.learn(CLIENT, 1400, 5)
    for now_s in (5, 6, 5 + AGE_S - 1):
        assert known(mtus, now_s) == [1400, UNKNOWN]
        assert mtus.any_known(now_s)
    assert known(mtus, 5 + AGE_S) == [UNKNOWN, UNKNOWN]
    assert not mtus.any_known(5 + AGE_S)


def test_an_error_never_raises_it(mtus: PathMtus) -> None:
    assert mtus.learn(CLIENT, 1400, 5)
    assert not mtus.learn(CLIENT, 1400, 6)
    assert not mtus.learn(CLIENT, 1450, 6)
    assert mtus.learn(CLIENT, 1300, 7)
    assert known(mtus, 7) == [1300, UNKNOWN]
    assert mtus.learn(CLIENT, 1450, 7 + AGE_S)
    assert known(mtus, 7 + AGE_S) == [1450, UNKNOWN]


@pytest.mark.parametrize("mtu", [0, 68, 1279, 4096, 65535, 1 << 31])
def test_what_no_ipv6_link_has_is_discarded(mtus: PathMtus, mtu: int) -> None:
    assert not mtus.learn(CLIENT, mtu, 5)
    assert known(mtus, 5) == [UNKNOWN, UNKNOWN]
    assert mtus.learn(CLIENT, 1280, 5)


def test_memory_is_bounded_and_the_oldest_makes_room(mtus: PathMtus) -> None:
    mtus.entries[:] = 0
    one = mtus.entries[:1]
    mtus.entries = one  # one set for all
    mtus._place = lambda client6: (  # type: ignore[method-assign]  # so that they meet
        np.zeros(len(client6), np.intp),
        client6[:, 1] >> np.uint64(56),
    )
    clients = [words6([IPv6Address(f"2001:db8::{n}")]) for n in range(1, 7)]
    for second, client in enumerate(clients):
        assert mtus.learn(client, 1300 + second, second)
    found = [int(mtus.look_up(client, 6)[0]) for client in clients]
    assert found == [UNKNOWN, UNKNOWN, 1302, 1303, 1304, 1305]


def test_another_process_sees_it_at_once() -> None:
    memory = bytearray(PathMtus.SIZE)
    one, other = PathMtus(memory), PathMtus(memory)
    one.lay_out((1, 2))
    one.learn(OTHER, 1330, 0)
    assert known(other, 0) == [UNKNOWN, 1330]
