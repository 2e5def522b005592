from __future__ import annotations

from ipaddress import IPv6Address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dstmrouter.protocols.cookies import COOKIE_LEN, WINDOW_S, Cookies
from dstmrouter.protocols.dstm_rpc import NONCE_MAX

PEER = (IPv6Address("2001:db8::7"), 4711)
COOKIES = Cookies(b"secret")


@given(st.floats(0, 1e9), st.floats(0, WINDOW_S))
def test_good_for_a_window_at_least(now: float, age: float) -> None:
    assert COOKIES.is_valid(COOKIES.issue(*PEER, now), *PEER, now + age)


@given(st.floats(0, 1e9))
def test_over_after_two_windows(now: float) -> None:
    assert not COOKIES.is_valid(COOKIES.issue(*PEER, now), *PEER, now + 2 * WINDOW_S + 0.001)


@pytest.mark.parametrize(
    ("cookies", "peer"),
    [
        (COOKIES, (PEER[0] + 1, PEER[1])),
        (COOKIES, (PEER[0], PEER[1] + 1)),
        (Cookies(b"another secret"), PEER),
    ],
)
def test_good_for_one_peer_and_one_key(cookies: Cookies, peer: tuple[IPv6Address, int]) -> None:
    assert not cookies.is_valid(COOKIES.issue(*PEER, 1000), *peer, 1000)


@given(st.binary(max_size=NONCE_MAX))
def test_cannot_be_made_up(cookie: bytes) -> None:
    assert not COOKIES.is_valid(cookie, *PEER, 1000)


def test_fits_the_interface() -> None:
    assert len(COOKIES.issue(*PEER, 0)) == COOKIE_LEN <= NONCE_MAX
