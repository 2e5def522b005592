"""`server.toml`: who may have which address."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address, IPv6Network
from typing import TYPE_CHECKING

import pytest

from dstmrouter.config.load import load_server
from tests.config.documents import SERVER, edited, problems

if TYPE_CHECKING:
    from pathlib import Path

PREFIX = 'prefix = "203.0.113.0/24"'
ANN = '[[reservation]]\nipv4 = "203.0.113.9"\nidentity = "ann"\n'


@pytest.mark.parametrize(
    ("keys", "line"),
    [
        (
            'identities = ["ann", ""]',
            '[[pool]] #1 identities #2 = "": expected 1 to 255 characters',
        ),
        (
            'client_prefixes = ["2001:db8::1/32"]',
            '[[pool]] #1 client_prefixes #1 = "2001:db8::1/32": expected an IPv6 prefix '
            "without host bits, like 2001:db8::/32",
        ),
        (
            "reserve = 20",
            "[[pool]] #1 reserve = 20: expected a number between 0 and 1 (share of the addresses)",
        ),
        (
            "reserve = true",
            "[[pool]] #1 reserve = true: expected a number between 0 and 1 "
            "(share of the addresses)",
        ),
    ],
)
def test_bad_selectors(tmp_path: Path, keys: str, line: str) -> None:
    document = edited(SERVER, PREFIX, f"{PREFIX}\n{keys}")
    assert problems(load_server, tmp_path / "s.toml", document) == [line]


@pytest.mark.parametrize(
    ("reservation", "line"),
    [
        (
            '[[reservation]]\nipv4 = "203.0.113.9"\n',
            "[[reservation]] #1 identity is missing: expected identity, client6 or both",
        ),
        (
            '[[reservation]]\nipv4 = "192.0.2.9"\nidentity = "ann"\n',
            '[[reservation]] #1 ipv4 = "192.0.2.9": expected an address that a [[pool]] lends',
        ),
        (
            ANN + ANN.replace("ann", "bob"),
            '[[reservation]] #2 ipv4 = "203.0.113.9": expected another value than #1 has',
        ),
        (
            ANN + ANN.replace(".9", ".8"),
            '[[reservation]] #2 identity = "ann": expected another value than #1 has',
        ),
        (
            '[[reservation]]\nipv4 = "203.0.113.9"\nclient6 = "fe80::1"\n',
            '[[reservation]] #1 client6 = "fe80::1": expected a global or unique local unicast '
            "IPv6 address (not link-local, multicast, loopback, unspecified or IPv4-mapped)",
        ),
    ],
)
def test_bad_reservations(tmp_path: Path, reservation: str, line: str) -> None:
    assert problems(load_server, tmp_path / "s.toml", SERVER + reservation) == [line]


@pytest.mark.parametrize(
    ("section", "line"),
    [
        (
            "[quota]\nper_64 = -1\n",
            "[quota] per_64 = -1: expected an integer between 0 and 16777216 (leases, 0: no limit)",
        ),
        (
            '[rate]\ntotal = "many"\n',
            '[rate] total = "many": expected a number between 0 and 1e+06 '
            "(requests per second, 0: no limit)",
        ),
        (
            "[rate]\nper_64_burst = 0\n",
            "[rate] per_64_burst = 0: expected an integer between 1 and 1000000 (requests)",
        ),
    ],
)
def test_bad_limits(tmp_path: Path, section: str, line: str) -> None:
    assert problems(load_server, tmp_path / "s.toml", SERVER + section) == [line]


def test_nothing_is_limited_by_default(tmp_path: Path) -> None:
    file = tmp_path / "s.toml"
    file.write_text(SERVER)
    config = load_server(file)
    assert set(config.quota.model_dump().values()) == {0}
    assert (config.rate.per_64, config.rate.total) == (0.0, 0.0)


def test_port_sets_are_limited_by_memory(tmp_path: Path) -> None:
    document = edited(SERVER, PREFIX, 'prefix = "10.0.0.0/11"\npsid_len = 4')
    (line,) = problems(load_server, tmp_path / "s.toml", document)
    assert line.endswith("expected at most 16777216 port sets, here 2097152 addresses")


def test_an_excluded_address_cannot_be_reserved(tmp_path: Path) -> None:
    document = edited(SERVER, PREFIX, f'{PREFIX}\nexclude = ["203.0.113.8/30"]') + ANN
    (line,) = problems(load_server, tmp_path / "s.toml", document)
    assert line.endswith("expected an address that a [[pool]] lends")


def test_what_is_loaded(tmp_path: Path) -> None:
    keys = 'identities = ["*.org"]\nclient_prefixes = ["2001:db8::/32"]\nreserve = 0.25'
    file = tmp_path / "s.toml"
    file.write_text(
        edited(SERVER, PREFIX, f"{PREFIX}\n{keys}")
        + ANN
        + '[[reservation]]\nipv4 = "203.0.113.7"\nidentity = "ann"\nclient6 = "2001:db8::7"\n'
    )
    config = load_server(file)
    (pool,) = config.pool
    assert pool.identities == ("*.org",)
    assert pool.client_prefixes == (IPv6Network("2001:db8::/32"),)
    assert pool.reserve == 0.25
    first, second = config.reservation
    assert (first.ipv4, first.identity, first.client6) == (IPv4Address("203.0.113.9"), "ann", None)
    assert second.client6 == IPv6Address("2001:db8::7")
