"""The network of the faults: every machine a network namespace, with cables that can be pulled.

             switch: br0, 2001:db8:1::/64               host4
    client1 --+                                           |
    ...       +--- gw1 port6 [gw1] port4 -----------------+ 198.51.100.0/24
    clientN --+                                           |
    guests ---+--- gw2 port6 [gw2] port4 -----------------+ 198.51.101.0/24
    server ---+
             switch: br1, 2001:db8:5::/64: server, gw1, gw2

Both routers have the same tep6; a client's route to it decides which one it uses. A cable is pulled
at the switch, so the machine sees its carrier go, as from a switch that lost power.
"""

from __future__ import annotations

import contextlib
import dataclasses
from typing import Final, Self

from dstmrouter.io.owner import Closing
from lab.netns import Lab, Namespace, veth, wait_until
from lab.topology import POOL, PORT4, PORT6, TEP4, TEP6

ROUTERS: Final = ("gw1", "gw2")
CLIENTS: Final = {"client1": "gw1", "client2": "gw2", "client3": "gw1", "client4": "gw2"}
"""Clients, and the router that each of them uses."""

LAN, MANAGEMENT = "br0", "br1"
SERVER6: Final = "2001:db8:1::5"  # for clients
FEED6: Final = "2001:db8:5::5"  # for routers
HOST4: Final = {"gw1": "198.51.100.2", "gw2": "198.51.101.2"}
"""The IPv4 host, as it is reached through each router."""

ROUTER4: Final = {"gw1": "198.51.100.1", "gw2": "198.51.101.1"}
GUESTS6: Final = tuple(f"2001:db8:1::1:{number}" for number in range(1, 7))
"""Addresses on one host, from which leases are asked for and given back all the time."""


def client6(host: str) -> str:
    """The IPv6 address of a client."""
    return f"2001:db8:1::{10 + list(CLIENTS).index(host)}"


@dataclasses.dataclass(frozen=True, slots=True)
class Network(Closing):
    """The namespaces by name; a context manager that removes them and all that runs in them."""

    lab: Lab
    spaces: dict[str, Namespace]

    @classmethod
    def build(cls) -> Self:
        """Make it all."""
        with contextlib.ExitStack() as undo:
            lab = undo.enter_context(Lab())
            names = ("switch", "server", *ROUTERS, "host4", *CLIENTS, "guests")
            made = cls(lab, {name: lab.namespace(name) for name in names})
            for bridge in (LAN, MANAGEMENT):
                made["switch"].ip("link", "add", bridge, "type", "bridge", "mcast_snooping", "0")
                made["switch"].ip("link", "set", "dev", bridge, "up")
            made._server()
            for number, router in enumerate(ROUTERS, start=1):
                made._router(router, number)
            made._hosts()
            wait_until(made._carriers, "bridges up")
            undo.pop_all()
        return made

    def __getitem__(self, name: str) -> Namespace:
        """The namespace of a machine."""
        return self.spaces[name]

    def pull(self, *cables: str) -> None:
        """Pull cables, by the names of their ends at the switch: `gw1-lan`, `server-mgmt`."""
        for cable in cables:
            self["switch"].ip("link", "set", "dev", cable, "down")

    def plug(self, *cables: str) -> None:
        """Plug them in again."""
        for cable in cables:
            self["switch"].ip("link", "set", "dev", cable, "up")

    def _cable(self, bridge: str, name: str, end: tuple[str, str]) -> None:
        machine, interface = end
        veth((self["switch"], name), (self[machine], interface))
        self["switch"].ip("link", "set", "dev", name, "master", bridge)

    def _server(self) -> None:
        self._cable(LAN, "server-lan", ("server", "eth0"))
        self._cable(MANAGEMENT, "server-mgmt", ("server", "mgmt"))
        self["server"].address("eth0", f"{SERVER6}/64")
        self["server"].address("mgmt", f"{FEED6}/64")

    def _router(self, name: str, number: int) -> None:
        router = self[name]
        self._cable(LAN, f"{name}-lan", (name, PORT6))
        self._cable(MANAGEMENT, f"{name}-mgmt", (name, "mgmt"))
        veth((router, PORT4), (self["host4"], name))
        router.address(PORT6, f"2001:db8:1::{number}/64")
        router.address("mgmt", f"2001:db8:5::{number}/64")
        router.address(PORT4, f"{ROUTER4[name]}/24")
        router.address("lo", f"{TEP6}/128", f"{TEP4}/32")
        router.sysctl({"net.ipv6.conf.all.forwarding": "1", "net.ipv4.ip_forward": "1"})
        host4, table = self["host4"], str(100 + number)
        host4.address(name, f"{HOST4[name]}/24")
        host4.route(POOL, "via", ROUTER4[name], "table", table)  # back the way that it came
        host4.ip("-4", "rule", "add", "from", HOST4[name], "lookup", table)

    def _hosts(self) -> None:
        for name, router in CLIENTS.items():
            self._cable(LAN, name, (name, "eth0"))
            self[name].address("eth0", f"{client6(name)}/64")
            number = 1 + ROUTERS.index(router)
            self[name].route(f"{TEP6}/128", "via", f"2001:db8:1::{number}")
        self._cable(LAN, "guests", ("guests", "eth0"))
        self["guests"].address("eth0", *(f"{guest}/64" for guest in GUESTS6))

    def _carriers(self) -> bool:
        shown = (self["switch"].ip("link", "show", bridge) for bridge in (LAN, MANAGEMENT))
        return all("LOWER_UP" in link for link in shown)

    def close(self) -> None:
        """Remove all of it; harmless when repeated."""
        self.lab.close()
