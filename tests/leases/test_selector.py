from __future__ import annotations

from ipaddress import IPv6Address, IPv6Network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dstmrouter.leases.selector import ANYBODY, Selector

HERE = IPv6Address("2001:db8:1::7")


@pytest.mark.parametrize(
    ("identity", "fits"),
    [
        ("ann", True),
        ("Ann", False),
        ("anna", False),
        ("host.example.org", True),
        ("a.b.example.org", True),
        ("example.org", False),
        ("host.example.organ", False),
        ("pc7", True),
        ("pc77", False),
        ("", False),
    ],
)
def test_identities_are_exact_or_patterns(identity: str, fits: bool) -> None:
    selector = Selector(["ann", "*.example.org", "pc?"])
    assert selector.fits(HERE, identity) == fits


def test_a_star_fits_whoever_authenticated() -> None:
    assert Selector(["*"]).fits(HERE, "anybody")
    assert not Selector(["*"]).fits(HERE, "")


def test_nothing_named_fits_all() -> None:
    assert ANYBODY.fits(HERE, "")
    assert ANYBODY.fits(HERE, "ann")


def test_both_must_fit_when_both_are_named() -> None:
    selector = Selector(["ann"], [IPv6Network("2001:db8:1::/48")])
    assert selector.fits(HERE, "ann")
    assert not selector.fits(HERE, "bob")
    assert not selector.fits(IPv6Address("2001:db8:2::7"), "ann")


PREFIXES = st.tuples(st.integers(0, 2**16 - 1), st.integers(112, 128)).map(
    lambda p: IPv6Network((p[0] + (0x20010DB8 << 96), p[1]), strict=False)
)


@given(st.lists(PREFIXES, min_size=1, max_size=8), st.integers(0, 2**16 - 1))
def test_prefixes_are_those_of_the_standard_library(
    prefixes: list[IPv6Network], number: int
) -> None:
    address = IPv6Address(number + (0x20010DB8 << 96))
    expected = any(address in prefix for prefix in prefixes)
    assert Selector(client_prefixes=prefixes).fits(address, "") == expected


def test_the_whole_internet_is_a_prefix() -> None:
    assert Selector(client_prefixes=[IPv6Network("::/0")]).fits(HERE, "")
