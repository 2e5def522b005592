from __future__ import annotations

import dataclasses
from ipaddress import IPv4Address, IPv4Network, IPv6Address
from typing import Any

import pytest

from dstmrouter.dti.plan import (
    MARK,
    Address,
    ChangeAddress,
    ChangeRoute,
    CreateLink,
    DeleteLink,
    Ends,
    Found,
    Link,
    QuietLink,
    SetLink,
    is_ours,
    plan,
    refusals,
)
from dstmrouter.dti.tunnel import Kind, Tunnel

CLIENT4, TEP4 = IPv4Address("192.0.2.7"), IPv4Address("192.0.2.1")
CLIENT6, TEP6 = IPv6Address("2001:db8::7"), IPv6Address("2001:db8:f::1")
DEFAULT, LAB = IPv4Network("0.0.0.0/0"), IPv4Network("198.51.100.0/24")
WANTED = Tunnel(client4=CLIENT4, client6=CLIENT6, tep6=TEP6, tep4=TEP4, routes=(DEFAULT,))
ENDS = Ends(CLIENT6, TEP6, None, encap_limit=False)
OURS = Link(index=9, kind="ip6tnl", alias=MARK, mtu=1460, up=True, ends=ENDS)
DONE = Found(
    link=OURS,
    addresses=frozenset({Address(CLIENT4, TEP4)}),
    routes=frozenset({DEFAULT}),
    local6=frozenset({CLIENT6}),
)


@pytest.mark.parametrize("kind", Kind)
def test_from_nothing_in_an_order_that_works(kind: Kind) -> None:
    assert plan(WANTED, kind, Found()) == [
        CreateLink(kind, "dti0", ENDS),
        QuietLink("dti0"),
        SetLink("dti0", 1460),
        ChangeAddress("add", "dti0", Address(CLIENT4, TEP4)),
        ChangeRoute("add", "dti0", DEFAULT, CLIENT4),
    ]


def test_nothing_is_doubled() -> None:
    assert plan(WANTED, Kind.IP6TNL, DONE) == []


@pytest.mark.parametrize(
    "link",
    [
        dataclasses.replace(OURS, ends=dataclasses.replace(ENDS, tep6=IPv6Address("2001:db8::f"))),
        dataclasses.replace(OURS, ends=dataclasses.replace(ENDS, encap_limit=True)),
        dataclasses.replace(OURS, ends=dataclasses.replace(ENDS, interface="eth0")),
        dataclasses.replace(OURS, kind="tun", ends=None),
    ],
)
def test_another_tunnel_of_ours_is_replaced(link: Link) -> None:
    steps = plan(WANTED, Kind.IP6TNL, dataclasses.replace(DONE, link=link))
    assert steps == [DeleteLink(9), *plan(WANTED, Kind.IP6TNL, Found())]


def test_remains_of_the_kernel_tunnel_make_way_for_tun() -> None:
    assert plan(WANTED, Kind.TUN, DONE) == [DeleteLink(9), *plan(WANTED, Kind.TUN, Found())]


@pytest.mark.parametrize("change", [{"mtu": 1400}, {"up": False}, {"alias": ""}])
def test_settings_are_repaired(change: dict[str, Any]) -> None:
    link = dataclasses.replace(OURS, **change)
    assert plan(WANTED, Kind.IP6TNL, dataclasses.replace(DONE, link=link)) == [
        QuietLink("dti0"),
        SetLink("dti0", 1460),
    ]


def test_another_lease_replaces_the_old_ones_address_and_routes() -> None:
    old = Address(IPv4Address("192.0.2.8"), None)
    found = dataclasses.replace(DONE, addresses=frozenset({old}), routes=frozenset({DEFAULT, LAB}))
    assert plan(WANTED, Kind.IP6TNL, found) == [
        ChangeRoute("del", "dti0", DEFAULT, CLIENT4),
        ChangeRoute("del", "dti0", LAB, CLIENT4),
        ChangeAddress("del", "dti0", old),
        ChangeAddress("add", "dti0", Address(CLIENT4, TEP4)),
        ChangeRoute("add", "dti0", DEFAULT, CLIENT4),
    ]


def test_only_the_routes_that_differ_change() -> None:
    wanted = dataclasses.replace(WANTED, routes=(LAB,))
    assert plan(wanted, Kind.IP6TNL, DONE) == [
        ChangeRoute("del", "dti0", DEFAULT, CLIENT4),
        ChangeRoute("add", "dti0", LAB, CLIENT4),
    ]


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"local6": frozenset()}, "client6 2001:db8::7 is no address of this host"),
        ({"local6": frozenset({CLIENT6, TEP6})}, "tep6 2001:db8:f::1 is an address of this host"),
        ({"client4_on": "eth1"}, "client4 192.0.2.7 is already an address of eth1"),
        ({"tep6_through": "dti0"}, "leads into dti0 itself"),
        ({"other_routes": {DEFAULT: "eth1"}}, "a route to 0.0.0.0/0 through eth1 exists"),
        ({"link": dataclasses.replace(OURS, kind="tun", ends=None)}, "in use by another client"),
    ],
)
def test_what_is_in_the_way_is_said(change: dict[str, Any], complaint: str) -> None:
    found = dataclasses.replace(DONE, **change)
    (reason,) = refusals(WANTED, found, ours=True)
    assert complaint in reason


def test_nothing_is_in_the_way() -> None:
    found = dataclasses.replace(DONE, other_routes={LAB: "eth1"}, tep6_through="eth0")
    assert list(refusals(WANTED, found, ours=True)) == []


def test_a_foreign_interface_is_left_alone() -> None:
    (reason,) = refusals(WANTED, DONE, ours=False)
    assert "dti0 exists and is not ours" in reason


def test_ours_by_alias_or_by_what_a_killed_client_wrote() -> None:
    unmarked = dataclasses.replace(OURS, alias="")
    assert is_ours(OURS, None)
    assert is_ours(unmarked, ENDS)
    assert not is_ours(unmarked, None)
    assert not is_ours(unmarked, dataclasses.replace(ENDS, tep6=IPv6Address("2001:db8::f")))
    assert not is_ours(dataclasses.replace(unmarked, ends=None), ENDS)


def test_steps_read_as_sentences() -> None:
    assert [str(step) for step in plan(WANTED, Kind.TUN, Found())] == [
        "create tun dti0 from 2001:db8::7 to 2001:db8:f::1",
        "disable IPv6 on dti0",
        "set dti0 up, mtu 1460",
        "add address 192.0.2.7 peer 192.0.2.1 on dti0",
        "add route 0.0.0.0/0 through dti0",
    ]


def test_a_tun_device_of_this_process_changes_in_place() -> None:
    held = dataclasses.replace(
        DONE, link=dataclasses.replace(OURS, kind="tun", ends=None), held=True
    )
    assert plan(WANTED, Kind.TUN, held) == []
    assert list(refusals(WANTED, held, ours=True)) == []
    other = dataclasses.replace(WANTED, client4=IPv4Address("192.0.2.8"))
    assert plan(other, Kind.TUN, held) == [
        ChangeRoute("del", "dti0", DEFAULT, other.client4),
        ChangeAddress("del", "dti0", Address(CLIENT4, TEP4)),
        ChangeAddress("add", "dti0", Address(other.client4, TEP4)),
        ChangeRoute("add", "dti0", DEFAULT, other.client4),
    ]


def test_routes_go_into_the_wanted_table() -> None:
    elsewhere = dataclasses.replace(WANTED, table=99)
    *_, step = plan(elsewhere, Kind.TUN, Found())
    assert step == ChangeRoute("add", "dti0", DEFAULT, CLIENT4, 99)
    assert str(step) == "add route 0.0.0.0/0 through dti0, table 99"
