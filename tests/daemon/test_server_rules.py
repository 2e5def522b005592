from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address
from typing import TYPE_CHECKING

import pytest

from dstmrouter.config.load import load_server
from dstmrouter.daemon.server_rules import lease_book, request_throttle
from dstmrouter.errors import ConfigError, LeaseError
from dstmrouter.leases.lease import LeaseRequest
from tests.config.documents import SERVER, edited

if TYPE_CHECKING:
    from pathlib import Path

    from dstmrouter.config.server import ServerConfig

RULES = """
[[pool]]
name = "staff"
first = "192.0.2.0"
last = "192.0.2.9"
identities = ["*.staff"]
client_prefixes = ["2001:db8::/32"]
reserve = 0.5
[[reservation]]
ipv4 = "192.0.2.7"
identity = "ann.staff"
client6 = "2001:db8::7"
[quota]
per_64 = 2
[rate]
per_64 = 1
per_64_burst = 1
"""


def loaded(path: Path, document: str) -> ServerConfig:
    (path / "s.toml").write_text(document)
    return load_server(path / "s.toml")


def asking(number: int, identity: str) -> LeaseRequest:
    return LeaseRequest(client6=IPv6Address("2001:db8::") + number, identity=identity)


def test_all_rules_of_the_file_hold(tmp_path: Path) -> None:
    book = lease_book(loaded(tmp_path, SERVER.replace("203.0.113.0/24", "203.0.113.0/32") + RULES))
    assert book.grant(asking(7, "ann.staff"), 0.0).ipv4 == IPv4Address("192.0.2.7")
    assert book.grant(asking(8, "x"), 0.0).ipv4 == IPv4Address("203.0.113.0")
    with pytest.raises(LeaseError, match="no address is free"):
        book.grant(asking(9, "x"), 0.0)
    with pytest.raises(LeaseError, match="which is the limit"):
        book.grant(asking(9, "bob.staff"), 0.0)
    assert [pool.reserve for pool in book.space.pools] == [0.0, 0.5]
    assert len(book.space.pools[1]) == 9  # without tep4


def test_rates_of_the_file_hold(tmp_path: Path) -> None:
    throttle = request_throttle(loaded(tmp_path, SERVER + RULES))
    throttle.admit(IPv6Address("2001:db8::1"), 0.0, holds=False)
    with pytest.raises(LeaseError, match="too many requests"):
        throttle.admit(IPv6Address("2001:db8::2"), 0.0, holds=False)


def test_the_routers_own_address_cannot_be_reserved(tmp_path: Path) -> None:
    document = edited(SERVER, "203.0.113.0/24", "192.0.2.0/24")
    reservation = '[[reservation]]\nipv4 = "192.0.2.1"\nidentity = "ann"\n'
    with pytest.raises(ConfigError, match=r"192\.0\.2\.1: the address is in no pool"):
        lease_book(loaded(tmp_path, document + reservation))
