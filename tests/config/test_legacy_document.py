from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address
from pathlib import Path

import pytest

from dstmrouter.config.client import DEFAULT4
from dstmrouter.config.fields import Range4
from dstmrouter.config.legacy import LegacyClient, LegacyServer
from dstmrouter.config.legacy_document import client_document, server_document
from dstmrouter.config.load import check_client, check_server

TEP6, TEP4 = IPv6Address("2001:db8:402:2::1"), IPv4Address("10.0.0.1")
RANGE = Range4(IPv4Address("10.0.1.1"), IPv4Address("10.0.1.200"))


def test_the_server_lends_what_the_old_one_did() -> None:
    legacy = LegacyServer(tep6=TEP6, tep4=TEP4, ranges=(RANGE,), lease_s=600)
    config = check_server(Path("rpcdstmd.conf"), server_document(legacy))
    assert [pool.span for pool in config.pool] == [RANGE]
    assert (config.tep.tep6, config.tep.tep4) == ((TEP6,), TEP4)
    assert (config.lease.default_s, config.lease.min_s, config.lease.max_s) == (600, 60, 86400)


@pytest.mark.parametrize("lease_s", [1, 59, 60, 86400, 86401, 0xFFFFFFFE])
def test_any_lifetime_of_the_old_files_is_within_the_limits(lease_s: int) -> None:
    legacy = LegacyServer(tep6=TEP6, tep4=TEP4, ranges=(RANGE,), lease_s=lease_s)
    lease = check_server(Path("x"), server_document(legacy)).lease
    assert lease.default_s == lease_s
    assert lease.min_s <= 60
    assert lease.max_s >= 86400


def test_the_client_asks_as_the_old_one_did() -> None:
    legacy = LegacyClient(server=str(TEP6), port=3545, log=Path("/var/log/dstmd.log"))
    config = check_client(Path("dstmd.args"), client_document(legacy))
    servers = config.servers
    assert (servers.hosts, servers.protocols, servers.tsp_port) == ((str(TEP6),), ("tsp",), 3545)
    assert config.client.log_file == Path("/var/log/dstmd.log")
    assert config.tunnel.routes == (DEFAULT4,)


def test_what_is_not_said_has_its_default() -> None:
    config = check_client(Path("x"), client_document(LegacyClient(server="gw")))
    assert (config.servers.tsp_port, config.client.log_file) == (3653, None)
