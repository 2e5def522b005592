from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address
from typing import Any

import pytest

from dstmrouter.dti.tunnel import Tunnel, check_name
from dstmrouter.errors import ConfigError

GOOD: dict[str, Any] = {
    "client4": IPv4Address("192.0.2.7"),
    "client6": IPv6Address("2001:db8::7"),
    "tep6": IPv6Address("2001:db8:f::1"),
}


def test_three_addresses_are_enough() -> None:
    tunnel = Tunnel(**GOOD)
    assert (tunnel.name, tunnel.mtu, tunnel.routes) == ("dti0", 1460, ())


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"client6": IPv6Address("fe80::7")}, "client6 fe80::7 is a link-local address"),
        ({"tep6": IPv6Address("fe80::1")}, "tep6 fe80::1 is a link-local address"),
        ({"tep6": IPv6Address("ff02::1")}, "multicast"),
        ({"client6": IPv6Address("::1")}, "loopback"),
        ({"client6": IPv6Address("::")}, "unspecified"),
        ({"tep6": IPv6Address("::ffff:192.0.2.1")}, "IPv4-mapped"),
        ({"tep6": GOOD["client6"]}, "client6 and tep6 are both"),
        ({"client4": IPv4Address("127.0.0.1")}, "loopback"),
        ({"client4": IPv4Address("224.0.0.1")}, "multicast"),
        ({"client4": IPv4Address("0.1.2.3")}, "reserved"),
        ({"client4": IPv4Address("240.0.0.1")}, "reserved"),
        ({"tep4": IPv4Address("169.254.0.1")}, "tep4 169.254.0.1 is a link-local"),
        ({"tep4": GOOD["client4"]}, "client4 and tep4 are both"),
        ({"mtu": 575}, "mtu 575: expected 576 to 65495"),
        ({"mtu": 65496}, "mtu 65496"),
        ({"name": "a" * 16}, "1 to 15 octets"),
    ],
)
def test_wrong_values_are_refused(change: dict[str, Any], complaint: str) -> None:
    with pytest.raises(ConfigError, match=complaint):
        Tunnel(**GOOD | change)


@pytest.mark.parametrize("name", ["", ".", "..", "../x", "a b", "dti%d", "dti0:1", "d\0", "ä" * 8])
def test_names_the_kernel_would_not_take_or_would_change(name: str) -> None:
    with pytest.raises(ConfigError, match="dti-name"):
        check_name(name)
