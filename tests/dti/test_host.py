from __future__ import annotations

import dataclasses
from contextlib import ExitStack, closing
from ipaddress import IPv4Network
from typing import TYPE_CHECKING

import pytest

from dstmrouter.dti.host import Host
from dstmrouter.dti.plan import MARK, Address, ChangeRoute, DeleteLink, plan
from dstmrouter.dti.tunnel import Kind, Tunnel
from dstmrouter.errors import SystemCallError
from tests.dti.conftest import CLIENT4, CLIENT6, STRANGER6, TEP4, TEP6

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.dti.conftest import Wire

pytestmark = pytest.mark.netns

DEFAULT, LAB = IPv4Network("0.0.0.0/0"), IPv4Network("198.51.100.0/24")
WANTED = Tunnel(client4=CLIENT4, client6=CLIENT6, tep6=TEP6, tep4=TEP4, routes=(DEFAULT, LAB))


@pytest.fixture
def host(wire: Wire) -> Iterator[Host]:
    with wire.client.entered(), closing(Host()) as host:
        yield host


def test_the_facts_before(wire: Wire, host: Host) -> None:
    wire.client.address("eth0", f"{CLIENT4}/24", "10.0.0.1/24")
    wire.client.route(str(LAB), "via", "10.0.0.2")
    wire.client.route("203.0.113.0/24", "via", "10.0.0.2", "table", "99")
    found = host.look(WANTED)
    assert found.link is None
    assert (found.addresses, found.routes) == (frozenset(), frozenset())
    assert CLIENT6 in found.local6
    assert STRANGER6 not in found.local6
    assert found.client4_on == "eth0"
    assert found.other_routes == {LAB: "eth0"}
    assert found.tep6_through == "eth0"


def test_no_way_to_the_end_point(wire: Wire, host: Host) -> None:
    wire.client.ip("-6", "route", "delete", "default")
    assert host.look(WANTED).tep6_through is None


def test_what_was_done_is_found_and_a_second_plan_is_empty(host: Host) -> None:
    for step in plan(WANTED, Kind.TUN, host.look(WANTED)):
        host.carry_out(step)
    found = host.look(WANTED)
    assert found.link is not None
    assert (found.link.alias, found.link.kind, found.link.mtu) == (MARK, "tun", 1460)
    assert found.link.up
    assert found.addresses == {Address(CLIENT4, TEP4)}
    assert found.routes == {DEFAULT, LAB}
    assert found.other_routes == {}
    assert host.octets("dti0")["out_sent"]["packets"] == 0
    host.close()
    host.close()


def test_no_ipv6_route_can_lead_into_the_device(wire: Wire, host: Host) -> None:
    """R10: whatever an operator does, the way to tep6 is not the tunnel."""
    for step in plan(WANTED, Kind.TUN, host.look(WANTED)):
        host.carry_out(step)
    said = wire.client.run("ip", "route", "add", f"{TEP6}/128", "dev", "dti0", check=False)
    assert "IPv6 is disabled" in said
    assert host.look(WANTED).tep6_through == "eth0"


def test_routes_are_deleted_whoever_added_them(wire: Wire, host: Host) -> None:
    for step in plan(WANTED, Kind.TUN, host.look(WANTED)):
        host.carry_out(step)
    wire.client.ip("route", "add", "203.0.113.0/24", "dev", "dti0", "scope", "global")
    for prefix in (DEFAULT, LAB, IPv4Network("203.0.113.0/24")):
        host.carry_out(ChangeRoute("del", "dti0", prefix, CLIENT4))
    assert host.look(WANTED).routes == frozenset()


def test_errors_name_the_step(host: Host) -> None:
    with pytest.raises(SystemCallError, match="delete interface 4711: No such device"):
        host.carry_out(DeleteLink(4711))
    with pytest.raises(SystemCallError, match="dti0: none"):
        host.carry_out(ChangeRoute("add", "dti0", LAB, CLIENT4))


def test_a_tun_device_goes_with_its_host(wire: Wire) -> None:
    with ExitStack() as undo:
        undo.enter_context(wire.client.entered())
        host = undo.enter_context(closing(Host()))
        for step in plan(WANTED, Kind.TUN, host.look(WANTED)):
            host.carry_out(step)
        assert "dti0" in wire.client.ip("link", "show")
    assert "dti0" not in wire.client.ip("link", "show")
    assert wire.client.ip("-4", "route", "show") == ""


def test_routes_of_another_table(wire: Wire, host: Host) -> None:
    """What the kill switch has put there is nobody's route."""
    wire.client.route("unreachable", "default", "table", "99", "metric", "4294967295")
    wanted = dataclasses.replace(WANTED, table=99)
    for step in plan(wanted, Kind.TUN, host.look(wanted)):
        host.carry_out(step)
    found = host.look(wanted)
    assert found.held
    assert found.routes == {DEFAULT, LAB}
    assert found.other_routes == {}
    assert "default dev dti0" in wire.client.ip("route", "show", "table", "99")
    assert host.look(WANTED).routes == frozenset()
