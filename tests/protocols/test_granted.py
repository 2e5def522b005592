from __future__ import annotations

import dataclasses
from ipaddress import IPv4Address, IPv6Address

import pytest

from dstmrouter.protocols.granted import GrantedLease


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
