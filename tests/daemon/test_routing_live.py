"""The plan follows real kernels: ours through the mirror, and a peer that answers ARP and ND."""

from __future__ import annotations

import asyncio
import contextlib
from ipaddress import IPv4Address, IPv6Address
from typing import TYPE_CHECKING

import numpy as np
import pytest

from dstmrouter.binding import words6
from dstmrouter.daemon.routing import Routing
from dstmrouter.io.netlink import KernelMirror
from dstmrouter.pipeline.hops import HopState, HopTable
from dstmrouter.pipeline.quiescence import Turns
from dstmrouter.pipeline.routes4 import Routes4
from lab.netns import PATIENCE_S
from tests.netns.two_hosts import in_own_namespace, join, needs_root, peer_host, run, until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from dstmrouter.io.kernelstate import Changes
    from tests.netns.two_hosts import Peer

pytestmark = [pytest.mark.netns, needs_root]

CLIENTS = ("2001:db8:6::2", "2001:db8:99::7")  # on the link, and behind the peer
MOVED = bytes.fromhex("020000000077")


class LiveRouting:
    """What the supervisor does with mirror and plan, and what a worker then sees."""

    def __init__(self) -> None:
        self.mirror = KernelMirror(self._on_changes)
        hops = HopTable(np.zeros(256, np.uint64))
        hops.lay_out()
        self.hops = hops
        self.routes4 = Routes4(bytearray(Routes4.size(256)), 256)
        turns = Turns(bytearray(Turns.size(1)), 1)
        ports = {"p6": 0, "p4": 1}
        self.routing = Routing(self.mirror.state, ports, hops, self.routes4, turns)
        self._clients = words6([IPv6Address(c) for c in CLIENTS])
        self._generation = -1
        self._client_hops = np.zeros(len(CLIENTS), np.uint32)

    def _on_changes(self, changes: Changes) -> None:
        self.routing.apply(changes, asyncio.get_running_loop().time())

    async def run(self) -> None:
        loop = asyncio.get_running_loop()
        mirroring = asyncio.create_task(self.mirror.run())
        try:
            while True:
                self.routing.refresh(loop.time())
                if self._generation != self.routing.generation6:
                    self._generation = self.routing.generation6
                    self._client_hops = self.routing.resolve6(self._clients, loop.time())
                    self.routing.retain6(self._client_hops)
                for key in self.routing.to_solicit(loop.time()):
                    self.mirror.solicit(*key)
                await asyncio.sleep(0.01)
        finally:
            mirroring.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await mirroring

    def to4(self, dst: str, *, glean: bool = True) -> tuple[HopState, int, bytes]:
        column = np.array([int(IPv4Address(dst))], np.uint32)
        hop = self._word(int(self.routes4.lookup(column)[0]))
        if glean and hop[0] is HopState.GLEAN:
            self.routing.glean(column)
        return hop

    def to6(self, client: str) -> tuple[HopState, int, bytes]:
        return self._word(int(self._client_hops[CLIENTS.index(client)]))

    def _word(self, hop: int) -> tuple[HopState, int, bytes]:
        word = self.hops.take(np.array([hop], np.uint32))[0]
        return HopState(int(word["state"])), int(word["port"]), word["mac"].tobytes()


@contextlib.contextmanager
def two_ports() -> Iterator[Peer]:
    """A peer on both ports: a client and an access router on p6, the IPv4 world on p4."""
    with peer_host() as peer:
        join(peer, "p6", "q6")
        join(peer, "p4", "q4")
        run("ip addr add 2001:db8:6::1/64 dev p6 nodad")
        run("ip addr add 192.0.2.1/24 dev p4")
        peer.run("ip addr add 2001:db8:6::2/64 dev q6 nodad")
        peer.run("ip addr add 2001:db8:6::fe/64 dev q6 nodad")
        peer.run("ip addr add 192.0.2.2/24 dev q4")
        peer.run("ip addr add 192.0.2.254/24 dev q4")
        run("ip route add default via 192.0.2.254")
        run("ip -6 route add 2001:db8:99::/48 via 2001:db8:6::fe")
        yield peer


@contextlib.asynccontextmanager
async def running() -> AsyncIterator[LiveRouting]:
    live = LiveRouting()
    task = asyncio.create_task(live.run())
    try:
        await asyncio.wait_for(live.mirror.ready.wait(), PATIENCE_S)
        yield live
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


def test_next_hops_are_resolved_without_any_traffic_of_the_kernel() -> None:
    async def main() -> None:
        with two_ports() as peer:
            async with running() as live:
                four, six = (HopState.RESOLVED, 1, peer.mac("q4")), peer.mac("q6")
                await until(lambda: live.to4("198.51.100.1") == four, "the IPv4 gateway")
                await until(lambda: live.to4("192.0.2.2") == four, "a gleaned neighbour")
                for client in CLIENTS:
                    wanted = (HopState.RESOLVED, 0, six)
                    await until(lambda c=client, w=wanted: live.to6(c) == w, client)  # type: ignore[misc]  # defaults in a lambda have no type
                assert live.to4("192.0.2.1")[0] is HopState.LOCAL

    in_own_namespace(main)


def test_a_neighbour_that_changes_its_mac_is_followed() -> None:
    async def main() -> None:
        with two_ports() as peer:
            async with running() as live:
                await until(lambda: live.to4("198.51.100.1")[0] is HopState.RESOLVED, "IPv4")
                await until(lambda: live.to6(CLIENTS[1])[0] is HopState.RESOLVED, "IPv6")
                for device in ("q4", "q6"):
                    peer.run(f"ip link set {device} address 02:00:00:00:00:77")
                peer.run("ping -c1 -W5 -I 192.0.2.254 192.0.2.1")
                peer.run("ping -c1 -W5 -I 2001:db8:6::fe 2001:db8:6::1")
                await until(lambda: live.to4("198.51.100.1")[2] == MOVED, "IPv4")
                await until(lambda: live.to6(CLIENTS[1])[2] == MOVED, "IPv6")

    in_own_namespace(main)


def test_routes_of_several_prefixes_come_are_replaced_and_go() -> None:
    async def main() -> None:
        with two_ports() as peer:
            run("ip route add blackhole 203.0.113.0/24")
            run("ip route add 203.0.113.8/29 via 192.0.2.2")
            async with running() as live:
                resolved = (HopState.RESOLVED, 1, peer.mac("q4"))
                await until(lambda: live.to4("203.0.113.9") == resolved, "the inner prefix")
                assert live.to4("203.0.113.7")[0] is HopState.UNREACHABLE
                assert live.to4("203.0.113.16")[0] is HopState.UNREACHABLE
                run("ip route replace 203.0.113.8/29 via 192.0.2.77")  # nobody there
                await until(lambda: live.to4("203.0.113.9")[0] is HopState.UNRESOLVED, "replaced")
                run("ip route del 203.0.113.8/29")
                await until(lambda: live.to4("203.0.113.9")[0] is HopState.UNREACHABLE, "removed")
                run("ip -6 route replace unreachable 2001:db8:99::/48")
                await until(lambda: live.to6(CLIENTS[1])[0] is HopState.UNREACHABLE, "IPv6")
                run("ip -6 route add 2001:db8:99::/56 via 2001:db8:6::2")
                await until(
                    lambda: live.to6(CLIENTS[1]) == (HopState.RESOLVED, 0, peer.mac("q6")),
                    "IPv6 by another gateway",
                )

    in_own_namespace(main)


@pytest.mark.parametrize("who", ["us", "the peer"])
def test_a_link_that_goes_down_and_comes_back(who: str) -> None:
    async def main() -> None:
        with two_ports() as peer:
            async with running() as live:
                await until(lambda: live.to4("198.51.100.1")[0] is HopState.RESOLVED, "IPv4")
                await until(lambda: live.to6(CLIENTS[0])[0] is HopState.RESOLVED, "IPv6")

                def switch(state: str) -> None:
                    if who == "us":
                        run(f"ip link set p4 {state}")
                    else:
                        peer.run(f"ip link set q4 {state}")

                switch("down")
                await until(lambda: live.to4("198.51.100.1")[0] is HopState.UNREACHABLE, "down")
                assert live.to6(CLIENTS[0])[0] is HopState.RESOLVED
                switch("up")
                if who == "us":  # the kernel has dropped the routes of the link
                    run("ip route add default via 192.0.2.254")
                wanted = (HopState.RESOLVED, 1, peer.mac("q4"))
                await until(lambda: live.to4("198.51.100.1") == wanted, "up again")

    in_own_namespace(main)
