from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from dstmrouter.dti.killswitch import turn_off, turn_on
from lab.netns import LabError

if TYPE_CHECKING:
    from tests.dti.conftest import Wire

pytestmark = pytest.mark.netns


def way(wire: Wire, target: str) -> str:
    try:
        return wire.client.ip("route", "get", target)
    except LabError as error:
        return str(error)


def test_no_way_out_while_it_is_on(wire: Wire) -> None:
    wire.client.address("eth0", "198.51.100.7/24")
    wire.client.route("default", "via", "198.51.100.1")
    assert "via 198.51.100.1" in way(wire, "192.0.2.1")
    with wire.client.entered():
        turn_on()
        turn_on()
    assert wire.client.ip("rule").count("5270") == 2  # preference and table of one rule
    for target in ("192.0.2.1", "198.51.100.1", "8.8.8.8"):
        assert "No route to host" in way(wire, target)
    for target in ("127.0.0.1", "198.51.100.7"):
        assert "dev lo" in way(wire, target)
    with wire.client.entered():
        assert turn_off() is True
        assert turn_off() is False
    assert "via 198.51.100.1" in way(wire, "192.0.2.1")
    assert "5270" not in wire.client.ip("rule")


def test_the_tunnels_routes_come_before_it(wire: Wire) -> None:
    wire.client.address("eth0", "198.51.100.7/24")
    wire.client.ip("link", "add", "other", "type", "veth", "peer", "name", "peer")
    wire.client.ip("link", "set", "other", "up")
    wire.client.ip("link", "set", "peer", "up")
    with wire.client.entered():
        turn_on()
    wire.client.route("192.0.2.0/24", "dev", "other", "table", "5270")
    assert "dev other" in way(wire, "192.0.2.1")
    assert "No route to host" in way(wire, "203.0.113.1")
