"""The standard network: who reaches whom before any router runs."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from lab import topology
from lab.topology import Topology

if TYPE_CHECKING:
    from collections.abc import Iterator

    from lab.netns import Namespace

pytestmark = pytest.mark.netns


@pytest.fixture(scope="module")
def net() -> Iterator[Topology]:
    with Topology.build(queues=2) as built:
        yield built


def reaches(space: Namespace, address: str) -> bool:
    return "1 received" in space.run("ping", "-c", "1", "-W", "1", address, check=False)


def test_both_clients_reach_the_tunnel_end_point_over_ipv6(net: Topology) -> None:
    assert reaches(net.client1, topology.TEP6)
    assert reaches(net.client2, topology.TEP6)
    assert reaches(net.client1, topology.CLIENT2)


def test_one_client_is_a_neighbour_and_one_behind_a_gateway(net: Topology) -> None:
    assert "via" not in net.router.ip("-6", "route", "get", topology.CLIENT1)
    assert f"via {topology.ACCESS6}" in net.router.ip("-6", "route", "get", topology.CLIENT2)


def test_clients_have_no_ipv4_and_host4_has_no_ipv6(net: Topology) -> None:
    for client in (net.client1, net.client2, net.access):
        assert client.ip("-4", "route") == ""
    assert net.host4.ip("-6", "address") == ""


def test_the_router_reaches_host4_by_a_longer_prefix_too(net: Topology) -> None:
    assert reaches(net.router, topology.HOST4)
    assert f"via {topology.HOST4}" in net.router.ip("route", "get", topology.FAR4)
    assert reaches(net.router, topology.FAR4)
    assert reaches(net.host4, topology.TEP4)


def test_without_a_router_lent_addresses_lead_nowhere(net: Topology) -> None:
    assert not reaches(net.host4, "203.0.113.7")


def test_ports_have_a_queue_per_worker(net: Topology) -> None:
    for port in (topology.PORT6, topology.PORT4):
        queues = net.router.run("ls", f"/sys/class/net/{port}/queues").split()
        assert queues == ["rx-0", "rx-1", "tx-0", "tx-1"]


def test_an_attached_interface_is_left_alone_by_the_kernel(net: Topology) -> None:
    space, interface = net.attach("foreign")
    assert space.ip("address", "show", "dev", interface).count("inet") == 0
    assert "LOWER_UP" in space.ip("link", "show", interface)
