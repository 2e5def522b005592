"""A client's namespace and a gateway's, joined by a veth pair."""

from __future__ import annotations

import dataclasses
import os
from ipaddress import IPv4Address, IPv6Address
from typing import TYPE_CHECKING

import pytest

from lab.netns import Lab, Namespace, veth

if TYPE_CHECKING:
    from collections.abc import Iterator

CLIENT4, TEP4 = IPv4Address("192.0.2.7"), IPv4Address("192.0.2.1")
CLIENT6, TEP6 = IPv6Address("2001:db8::7"), IPv6Address("2001:db8:f::1")
STRANGER6 = IPv6Address("2001:db8::bad")


@dataclasses.dataclass(frozen=True)
class Wire:
    """The client has `eth0`; the gateway has tep6 on the loopback and a stranger's address."""

    client: Namespace
    tep: Namespace
    lab: Lab


@pytest.fixture
def wire() -> Iterator[Wire]:
    if os.geteuid() != 0:
        pytest.skip("network namespaces need root")
    with Lab() as lab:
        client, tep = lab.namespace("client"), lab.namespace("tep")
        veth((client, "eth0"), (tep, "port6"))
        client.address("eth0", f"{CLIENT6}/64")
        tep.address("port6", "2001:db8::1/64", f"{STRANGER6}/64")
        tep.address("lo", f"{TEP6}/128")
        client.route("default", "via", "2001:db8::1")
        yield Wire(client, tep, lab)
