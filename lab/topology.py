"""The network of the demo and the tests: IPv6-only clients, a gateway, an IPv4-only host.

    client1 --+
              | 2001:db8:1::/64          +--------+  198.51.100.0/24
    uml ------+==========================| router |=================== host4
              |                    port6 +--------+ port4      192.0.2.128/25 behind it
    client2 --+ access
     2001:db8:2::/64

`client1` is a neighbour of the router, `client2` lives behind `access`, which is a router between
two /64s. A user-mode Linux can be the third client. The lent addresses are 203.0.113.0/24.
"""

from __future__ import annotations

import contextlib
import dataclasses
from typing import Final, Self

from dstmrouter.io.owner import Closing
from lab.netns import Lab, Namespace, veth, wait_until

TEP6: Final = "2001:db8:f::1"
TEP4: Final = "192.0.2.1"
POOL: Final = "203.0.113.0/24"
ROUTER6: Final = "2001:db8:1::1"
ROUTER4: Final = "198.51.100.1"
ACCESS6: Final = "2001:db8:1::2"
CLIENT1: Final = "2001:db8:1::11"
CLIENT2: Final = "2001:db8:2::22"
FAR_ROUTER6: Final = "2001:db8:4::1"
FAR_PEER6: Final = "2001:db8:4::33"
HOST4: Final = "198.51.100.2"
FAR4: Final = "192.0.2.129"  # a second address of host4, reached by a longer prefix
FAR4_PREFIX: Final = "192.0.2.128/25"
PORT6: Final = "port6"
PORT4: Final = "port4"
ONLINK_INTERFACE: Final = "eth0"  # every client's only interface


@dataclasses.dataclass(frozen=True, slots=True)
class Topology(Closing):
    """The namespaces; a context manager that removes them and all that runs in them."""

    lab: Lab
    client1: Namespace
    client2: Namespace
    access: Namespace
    router: Namespace
    host4: Namespace

    @classmethod
    def build(cls, *, queues: int = 1, mtu: int = 1500) -> Self:
        """Make it all; the router's ports get `queues` queues each, for as many workers."""
        with contextlib.ExitStack() as undo:
            lab = undo.enter_context(Lab())
            labels = ("client1", "client2", "access", "router", "host4")
            made = cls(lab, *(lab.namespace(label) for label in labels))
            _access_side(made, queues, mtu)
            _ipv4_side(made, queues, mtu)
            _gateway_kernel(made.router)
            # The kernel tells a bridge of its carrier up to a second late; nothing passes before.
            wait_until(lambda: "LOWER_UP" in made.access.ip("link", "show", "br0"), "bridge up")
            undo.pop_all()
        return made

    def attach(self, label: str) -> tuple[Namespace, str]:
        """A new namespace with one interface on the clients' /64, for a peer with its own stack.

        The kernel does not touch the interface: it has no address and no IPv6.
        """
        space = self.lab.namespace(label)
        space.sysctl({"net.ipv6.conf.default.disable_ipv6": "1"})
        _join_bridge(self.access, label, (space, ONLINK_INTERFACE))
        return space, ONLINK_INTERFACE

    def attach_behind(self, label: str, mtu: int) -> tuple[Namespace, str]:
        """The same, but two routers away from the gateway, with a link of `mtu` octets between.

        The peer is to be `FAR_PEER6` in a /64, its router is `FAR_ROUTER6`. Its own link and all
        others take 1500 octets: only ICMPv6 tells that the one in the middle does not.
        """
        space, home = self.lab.namespace(label), self.lab.namespace(f"{label}-home")
        space.sysctl({"net.ipv6.conf.default.disable_ipv6": "1"})
        home.sysctl({"net.ipv6.conf.all.forwarding": "1"})
        veth((self.access, f"to{label}"), (home, "up"), mtu=mtu)
        veth((home, "down"), (space, ONLINK_INTERFACE))
        self.access.address(f"to{label}", "2001:db8:3::1/64")
        home.address("up", "2001:db8:3::2/64")
        home.address("down", f"{FAR_ROUTER6}/64")
        home.route("default", "via", "2001:db8:3::1")
        self.access.route("2001:db8:4::/64", "via", "2001:db8:3::2")
        for net in ("2001:db8:3::/64", "2001:db8:4::/64"):
            self.router.route(net, "via", ACCESS6)
        return space, ONLINK_INTERFACE

    def close(self) -> None:
        """Remove everything; harmless when repeated."""
        self.lab.close()


def _access_side(lab: Topology, queues: int, mtu: int) -> None:
    lab.access.ip("link", "add", "br0", "type", "bridge", "mcast_snooping", "0")
    lab.access.ip("link", "set", "dev", "br0", "up")
    lab.access.sysctl({"net.ipv6.conf.all.forwarding": "1"})
    _join_bridge(lab.access, "torouter", (lab.router, PORT6), queues, mtu)
    _join_bridge(lab.access, "toclient1", (lab.client1, ONLINK_INTERFACE), mtu=mtu)
    veth((lab.access, "toclient2"), (lab.client2, ONLINK_INTERFACE), mtu=mtu)
    lab.router.address(PORT6, f"{ROUTER6}/64")
    lab.access.address("br0", f"{ACCESS6}/64")
    lab.access.address("toclient2", "2001:db8:2::1/64")
    lab.client1.address(ONLINK_INTERFACE, f"{CLIENT1}/64")
    lab.client2.address(ONLINK_INTERFACE, f"{CLIENT2}/64")
    lab.access.route("default", "via", ROUTER6)
    lab.client1.route("default", "via", ROUTER6)
    lab.client2.route("default", "via", "2001:db8:2::1")
    lab.router.route("2001:db8:2::/64", "via", ACCESS6)


def _join_bridge(
    access: Namespace, port: str, end: tuple[Namespace, str], queues: int = 1, mtu: int = 1500
) -> None:
    veth((access, port), end, queues=queues, mtu=mtu)
    access.ip("link", "set", "dev", port, "master", "br0")


def _ipv4_side(lab: Topology, queues: int, mtu: int) -> None:
    veth((lab.router, PORT4), (lab.host4, "eth0"), queues=queues, mtu=mtu)
    lab.host4.sysctl({"net.ipv6.conf.all.disable_ipv6": "1"})
    lab.router.address(PORT4, f"{ROUTER4}/24")
    lab.host4.address("eth0", f"{HOST4}/24")
    lab.host4.address("lo", f"{FAR4}/32")
    lab.host4.route(POOL, "via", ROUTER4)
    lab.host4.route(TEP4, "via", ROUTER4)
    lab.router.route(FAR4_PREFIX, "via", HOST4)


def _gateway_kernel(router: Namespace) -> None:
    """What an operator does on a gateway: own addresses, and forwarding."""
    router.address("lo", f"{TEP6}/128", f"{TEP4}/32")
    router.sysctl({"net.ipv6.conf.all.forwarding": "1", "net.ipv4.ip_forward": "1"})
