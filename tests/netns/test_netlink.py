"""A running router follows its kernel: routes, neighbours and links that change take effect."""

from __future__ import annotations

import contextlib
import socket
from typing import TYPE_CHECKING, Self

import pytest

from lab.topology import CLIENT1, FAR4, FAR4_PREFIX, HOST4, PORT4
from tests.netns.flows import ETH_P_IP, NUMBER, PORT, Client, Flow
from tests.netns.gateway import FIRST4, Gateway

if TYPE_CHECKING:
    from collections.abc import Iterator

    from lab.netns import Namespace

pytestmark = pytest.mark.netns
EFFECT_S = 1.0  # what is promised of changes in the kernel
OTHER4, OTHER_MAC = "198.51.100.3", "02:00:00:00:00:33"
NEW_MAC = "02:00:00:00:00:77"
UDP_AT = 34  # octets, behind Ethernet and IPv4 without options


class Wire:
    """What comes out of the router's IPv4 port: sends as a client, listens before host4."""

    def __init__(self, gateway: Gateway, client: Client) -> None:
        self.gateway = gateway
        self._client = client
        self._number = 0
        with gateway.topology.host4.entered():
            self._tap = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ETH_P_IP))
        self._tap.bind(("eth0", ETH_P_IP))
        self._tap.settimeout(0.05)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._tap.close()

    def mac_to(self, ipv4: str) -> str:
        """Send a packet to `ipv4`; the MAC address it leaves for, or nothing if it does not."""
        self._number += 1
        self._client.send(FIRST4, ipv4, self._number)
        with contextlib.suppress(TimeoutError):
            while True:
                frame = self._tap.recv(2048)
                udp = frame[UDP_AT:]
                if udp[:2] == PORT.to_bytes(2) and NUMBER.unpack(udp[8:12])[0] == self._number:
                    return frame[:6].hex(":")
        return ""

    def drops(self, ipv4: str, verdict: str) -> bool:
        """Send a packet to `ipv4`; whether it is dropped and counted as `verdict`."""
        before = self.gateway.count(verdict)
        return self.mac_to(ipv4) == "" and self.gateway.count(verdict) == before + 1

    def wait_for(self, ipv4: str, mac: str) -> None:
        """Expect packets to `ipv4` to leave for `mac` in time."""
        self.gateway.wait_until(
            lambda: self.mac_to(ipv4) == mac, f"{ipv4} to {mac or 'nobody'}", EFFECT_S
        )


@pytest.fixture(scope="module")
def gateway() -> Iterator[Gateway]:
    with Gateway() as made:
        made.start_router()
        made.bind()
        yield made


@pytest.fixture
def wire(gateway: Gateway) -> Iterator[Wire]:
    with Client(gateway.topology.client1) as client, Wire(gateway, client) as made:
        made.gateway.wait_until(lambda: made.mac_to(HOST4), "a first packet")
        yield made


def mac_of(space: Namespace, interface: str) -> str:
    return space.run("cat", f"/sys/class/net/{interface}/address").strip()


def test_longest_prefix_is_taken_and_replaced(gateway: Gateway, wire: Wire) -> None:
    router, mac = gateway.topology.router, mac_of(gateway.topology.host4, "eth0")
    router.ip("neigh", "replace", OTHER4, "lladdr", OTHER_MAC, "dev", PORT4, "nud", "permanent")
    wire.wait_for(FAR4, mac)
    router.ip("route", "replace", FAR4_PREFIX, "via", OTHER4)
    wire.wait_for(FAR4, OTHER_MAC)
    router.ip("route", "add", f"{FAR4}/32", "via", HOST4)
    wire.wait_for(FAR4, mac)
    wire.wait_for("192.0.2.130", OTHER_MAC)
    router.ip("route", "del", f"{FAR4}/32")
    wire.wait_for(FAR4, OTHER_MAC)
    router.ip("route", "replace", FAR4_PREFIX, "via", HOST4)
    wire.wait_for(FAR4, mac)


def test_default_route_comes_and_goes(gateway: Gateway, wire: Wire) -> None:
    assert wire.drops("8.8.8.8", "DROP_UNREACHABLE")
    gateway.topology.router.ip("route", "add", "default", "via", HOST4)
    wire.wait_for("8.8.8.8", mac_of(gateway.topology.host4, "eth0"))
    gateway.topology.router.ip("route", "del", "default")
    wire.wait_for("8.8.8.8", "")


def test_neighbour_gets_another_mac_address(gateway: Gateway, wire: Wire) -> None:
    host4 = gateway.topology.host4
    former = mac_of(host4, "eth0")
    host4.sysctl({"net.ipv4.conf.eth0.arp_notify": "1"})  # tells its neighbours by itself
    for mac in (NEW_MAC, former):
        # A gratuitous ARP is believed once an entry is older than locktime, a second by default.
        gateway.topology.router.sysctl({f"net.ipv4.neigh.{PORT4}.locktime": "0"})
        host4.ip("link", "set", "dev", "eth0", "address", mac)
        wire.wait_for(HOST4, mac)


def test_unknown_neighbour_is_asked_for(gateway: Gateway, wire: Wire) -> None:
    host4, router = gateway.topology.host4, gateway.topology.router
    host4.ip("address", "add", "198.51.100.99/24", "dev", "eth0")
    router.ip("neigh", "del", HOST4, "dev", PORT4)
    mac = mac_of(host4, "eth0")
    for target in ("198.51.100.99", FAR4):
        before = gateway.count("DROP_NEIGHBOUR")
        wire.wait_for(target, mac)
        if target != FAR4:  # on the link, so nothing was known before the first packet
            assert gateway.count("DROP_NEIGHBOUR") > before
    assert gateway.count("DROP_TX_FULL") == 0


def test_neighbour_that_does_not_answer_costs_a_counter(gateway: Gateway, wire: Wire) -> None:
    before = gateway.count("DROP_NEIGHBOUR")
    assert [wire.mac_to("198.51.100.66") for _ in range(5)] == [""] * 5
    assert gateway.count("DROP_NEIGHBOUR") == before + 5


def test_client_behind_another_router(gateway: Gateway) -> None:
    """An IPv6 route that changes moves the bindings that lie on it."""
    lab = gateway.topology
    elsewhere = "2001:db8:5::5"
    with Client(lab.client1) as client, Flow(lab, "203.0.113.5", client) as flow:
        lab.client1.ip("address", "add", f"{elsewhere}/128", "dev", "lo")
        gateway.bind("203.0.113.5", elsewhere)
        assert not flow.passes()
        assert gateway.count("DROP_UNREACHABLE") > 0
        lab.router.route("2001:db8:5::/64", "via", CLIENT1)
        with Client(lab.client1, elsewhere) as there, Flow(lab, "203.0.113.5", there) as other:
            gateway.wait_until(other.passes, "a packet over the new route", EFFECT_S)
            lab.router.ip("route", "del", "2001:db8:5::/64")
            gateway.wait_until(lambda: not other.passes(), "the end of the route", EFFECT_S)


def test_link_goes_down_and_comes_up(gateway: Gateway, wire: Wire) -> None:
    router, mac = gateway.topology.router, mac_of(gateway.topology.host4, "eth0")
    for _ in range(2):
        router.ip("link", "set", "dev", PORT4, "down")
        gateway.wait_until(lambda: wire.drops(HOST4, "DROP_UNREACHABLE"), "a drop", EFFECT_S)
        router.ip("link", "set", "dev", PORT4, "up")
        # The kernel itself takes up to a second to find out, and tells nobody before.
        gateway.wait_until(lambda: "LOWER_UP" in router.ip("link", "show", PORT4), "carrier")
        wire.wait_for(HOST4, mac)
    router.route(FAR4_PREFIX, "via", HOST4)
    wire.wait_for(FAR4, mac)
    with Client(gateway.topology.client1) as client, Flow(gateway.topology, FIRST4, client) as flow:
        gateway.wait_until(flow.passes, "a packet received by the port that was down", EFFECT_S)
    assert [ledger["missing"] for ledger in gateway.ledgers()] == [0]
