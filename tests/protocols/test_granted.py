from __future__ import annotations

import dataclasses
from ipaddress import IPv4Address, IPv6Address

import pytest

from dstmrouter.protocols.granted import GrantedLease, PortSet


def test_a_granted_lease_is_a_value() -> None:
    lease = GrantedLease(
        client4=IPv4Address("203.0.113.1"),
        client6=IPv6Address("2001:db8::1"),
        tep4=IPv4Address("192.0.2.1"),
        tep6=IPv6Address("2001:db8:f::1"),
        lifetime_s=900,
    )
    assert dataclasses.replace(lease, lifetime_s=900) == lease
    assert lease.port_set is None, "the whole address, unless a share is named"
    with pytest.raises(dataclasses.FrozenInstanceError):
        lease.lifetime_s = 5  # type: ignore[misc]


@pytest.mark.parametrize(
    ("offset", "length", "psid", "fault"),
    [
        (6, 8, 0x34, None),
        (0, 16, 0xFFFF, None),
        (15, 1, 1, None),
        (6, 0, 0, "1 bit or more"),
        (-1, 1, 0, "0 or more"),
        (9, 8, 0, "at most 16 bits"),
        (0, 8, 256, "below 256"),
        (0, 8, -1, "below 256"),
    ],
)
def test_what_is_a_port_set(offset: int, length: int, psid: int, fault: str | None) -> None:
    ports = PortSet(psid_offset=offset, psid_len=length, psid=psid)
    assert ports.fault is None if fault is None else fault in str(ports.fault)
    assert str(ports) == f"{offset}/{length}/{psid}"


def test_the_ranges_of_a_port_set() -> None:
    many = PortSet(psid_offset=6, psid_len=8, psid=0x34)  # RFC 7597 appendix A, example 1
    assert (many.ranges[0], many.ranges[-1], len(many.ranges)) == ((1232, 1235), (64720, 64723), 63)
    assert PortSet(psid_offset=0, psid_len=6, psid=1).ranges == [(1024, 2047)]
