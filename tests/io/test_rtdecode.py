from __future__ import annotations

import struct
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from typing import Any

import pytest
from pyroute2.netlink.rtnl.ifaddrmsg import ifaddrmsg
from pyroute2.netlink.rtnl.ifinfmsg import ifinfmsg
from pyroute2.netlink.rtnl.ndmsg import ndmsg
from pyroute2.netlink.rtnl.rtmsg import rtmsg

from dstmrouter.io import rtnetlink
from dstmrouter.io.kernelobjects import (
    Address,
    Link,
    Neighbour,
    NextHop,
    Notice,
    Route,
    RouteKind,
    Table,
)
from dstmrouter.io.rtdecode import decode

KINDS = {
    rtnetlink.RTM_NEWLINK: ifinfmsg,
    rtnetlink.RTM_DELLINK: ifinfmsg,
    rtnetlink.RTM_NEWADDR: ifaddrmsg,
    rtnetlink.RTM_DELADDR: ifaddrmsg,
    rtnetlink.RTM_NEWNEIGH: ndmsg,
    rtnetlink.RTM_NEWROUTE: rtmsg,
}


def received(
    number: int, attrs: dict[str, Any] | None = None, header_flags: int = 0, **fields: int
) -> rtnetlink.Message:
    """A message that went over the wire, as octets."""
    sent = KINDS[number]()
    for name, value in fields.items():
        sent[name] = value
    sent["attrs"] = list((attrs or {}).items())
    sent["header"]["type"] = number
    sent["header"]["flags"] = header_flags
    sent.encode()
    [message] = rtnetlink.Decoder().messages(bytes(sent.data))
    return message


def route_message(
    attrs: dict[str, Any], header_flags: int = 0, family: int = 2, **fields: int
) -> rtnetlink.Message:
    known = {"dst_len": 24, "table": 254, "type": 1}
    number = rtnetlink.RTM_NEWROUTE
    return received(number, attrs, header_flags, **({"family": family} | known | fields))


DST = {"RTA_DST": "198.51.100.0"}


def about(message: rtnetlink.Message) -> Any:
    notice = decode(message)
    return None if notice is None else notice.about


@pytest.mark.parametrize(
    ("flags", "up"), [(0x0, False), (0x1, False), (0x40, False), (0x41, True), (0x1043, True)]
)
def test_a_link_is_up_when_it_is_on_and_runs(flags: int, up: bool) -> None:
    attrs = {"IFLA_IFNAME": "eth0", "IFLA_ADDRESS": "02:00:00:00:0a:0b", "IFLA_MTU": 1500}
    message = received(rtnetlink.RTM_NEWLINK, attrs, family=0, index=3, flags=flags)
    assert about(message) == Link(3, "eth0", bytes.fromhex("020000000a0b"), 1500, up)


def test_a_bridge_port_is_not_a_link() -> None:
    message = received(rtnetlink.RTM_DELLINK, {}, family=7, index=3, flags=0x41)
    assert decode(message) is None


def test_our_own_address_and_not_the_peers() -> None:
    attrs = {"IFA_LOCAL": "192.0.2.1", "IFA_ADDRESS": "192.0.2.2"}
    message = received(rtnetlink.RTM_DELADDR, attrs, family=2, index=3, prefixlen=32)
    assert decode(message) == Notice(Address(3, IPv4Address("192.0.2.1"), 32), gone=True)
    message = received(
        rtnetlink.RTM_NEWADDR, {"IFA_ADDRESS": "2001:db8::1"}, family=10, index=3, prefixlen=64
    )
    assert about(message) == Address(3, IPv6Address("2001:db8::1"), 64)


def test_a_neighbour_with_and_without_mac() -> None:
    attrs = {"NDA_DST": "192.0.2.2", "NDA_LLADDR": "02:00:00:00:00:01"}
    message = received(rtnetlink.RTM_NEWNEIGH, attrs, family=2, ifindex=3, state=2)
    neighbour = about(message)
    assert neighbour == Neighbour(3, IPv4Address("192.0.2.2"), bytes.fromhex("020000000001"), 2)
    assert neighbour.usable
    del attrs["NDA_LLADDR"]
    message = received(rtnetlink.RTM_NEWNEIGH, attrs, family=2, ifindex=3, state=1)
    assert not about(message).usable


def test_a_bridge_entry_is_not_a_neighbour() -> None:
    message = received(rtnetlink.RTM_NEWNEIGH, {}, family=7, ifindex=3, state=2)
    assert decode(message) is None


def test_a_default_route_has_no_destination() -> None:
    message = route_message({"RTA_GATEWAY": "192.0.2.2", "RTA_OIF": 3}, dst_len=0)
    expected = (NextHop(3, IPv4Address("192.0.2.2")),)
    assert about(message) == Route(IPv4Network("0.0.0.0/0"), RouteKind.UNICAST, expected)
    message = route_message({"RTA_OIF": 3}, family=10, dst_len=0)
    assert about(message).dst == IPv6Network("::/0")


def test_replacing_is_told() -> None:
    message = route_message(DST, header_flags=rtnetlink.NLM_F_REPLACE)
    notice = decode(message)
    assert notice is not None
    assert notice.replaces


def test_the_wide_table_number_counts() -> None:
    assert about(route_message(DST | {"RTA_TABLE": 255}, table=252)).table is Table.LOCAL
    assert about(route_message(DST | {"RTA_TABLE": 1000}, table=252)) is None


def test_every_path_of_a_route_is_kept() -> None:
    ways: list[list[tuple[str, Any]]] = [
        [("RTA_GATEWAY", "192.0.2.2")],
        [("RTA_VIA", {"family": 10, "addr": "fe80::2"})],
        [],
        [("RTA_ENCAP_TYPE", 1), ("RTA_GATEWAY", "192.0.2.9")],
    ]
    paths = [{"oif": oif, "attrs": attrs} for oif, attrs in enumerate(ways, start=3)]
    assert about(route_message(DST | {"RTA_MULTIPATH": paths})).nexthops == (
        NextHop(3, IPv4Address("192.0.2.2")),
        NextHop(4, IPv6Address("fe80::2")),
        NextHop(5, None),
    )


@pytest.mark.parametrize(
    "fields",
    [{"tos": 8}, {"src_len": 64}, {"flags": 0x200}, {"family": 28}, {"type": 99}, {"table": 17}],
    ids=lambda fields: next(iter(fields)),
)
def test_routes_that_do_not_count(fields: dict[str, int]) -> None:
    assert about(route_message(DST)) is not None
    assert about(route_message(DST, **fields)) is None


def test_what_cannot_be_understood_is_a_value_error() -> None:
    message = route_message(DST)
    message["header"]["error"] = "cut off"
    with pytest.raises(ValueError, match="cut off"):
        decode(message)
    with pytest.raises(ValueError, match="host bits"):
        decode(route_message({"RTA_DST": "198.51.100.1"}))


def test_other_messages_say_nothing() -> None:
    [message] = rtnetlink.Decoder().messages(struct.pack("=IHHII", 16, 3, 0, 0, 0))  # NLMSG_DONE
    assert decode(message) is None
