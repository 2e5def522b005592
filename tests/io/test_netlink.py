from __future__ import annotations

import asyncio
import contextlib
import subprocess
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from typing import TYPE_CHECKING

import pytest

from dstmrouter.io import rtnetlink
from dstmrouter.io.kernelobjects import Address, NextHop, Part, Route, RouteKind, Table
from dstmrouter.io.kernelstate import Changes
from dstmrouter.io.netlink import SOLICIT_BURST, KernelMirror
from lab.netns import PATIENCE_S
from tests.netns.two_hosts import in_own_namespace, join, needs_root, peer_host, run, until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator

    from dstmrouter.io.kernelobjects import NeighbourKey
    from tests.netns.two_hosts import Peer

pytestmark = [pytest.mark.netns, needs_root]

PEER4 = IPv4Address("192.0.2.2")
PEER6 = IPv6Address("2001:db8::2")


@contextlib.asynccontextmanager
async def mirror_running(
    on_changes: Callable[[Changes], None] = lambda _: None,
) -> AsyncIterator[KernelMirror]:
    mirror = KernelMirror(on_changes)
    task = asyncio.create_task(mirror.run())
    try:
        await asyncio.wait_for(mirror.ready.wait(), PATIENCE_S)
        yield mirror
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


@contextlib.contextmanager
def addressed_peer() -> Iterator[Peer]:
    with peer_host() as peer:
        join(peer, "v0", "v1")
        run("ip addr add 192.0.2.1/24 dev v0")
        run("ip addr add 2001:db8::1/64 dev v0 nodad")
        peer.run("ip addr add 192.0.2.2/24 dev v1")
        peer.run("ip addr add 2001:db8::2/64 dev v1 nodad")
        yield peer


def routes(mirror: KernelMirror, part: Part, dst: str) -> list[Route]:
    network = IPv4Network(dst) if part is Part.ROUTES4 else IPv6Network(dst)
    return [r[0] for key, r in sorted(mirror.state.routes[part].items()) if key[0] == network]


def test_first_picture_holds_what_was_there_before() -> None:
    async def main() -> None:
        with addressed_peer():
            run("ip route add 198.51.100.0/24 via 192.0.2.2 metric 7")
            run("ip route add blackhole 203.0.113.0/24")
            run("ip -6 route add 2001:db8:1::/48 via 2001:db8::2")
            async with mirror_running() as mirror:
                link = mirror.state.link_named("v0")
                assert link is not None
                assert link.up
                assert link.mtu == 1500
                assert len(link.mac) == 6
                assert Address(link.ifindex, IPv4Address("192.0.2.1"), 24) in mirror.state.addresses
                assert routes(mirror, Part.ROUTES4, "198.51.100.0/24") == [
                    Route(
                        IPv4Network("198.51.100.0/24"),
                        RouteKind.UNICAST,
                        (NextHop(link.ifindex, PEER4),),
                        metric=7,
                    )
                ]
                [discard] = routes(mirror, Part.ROUTES4, "203.0.113.0/24")
                assert (discard.kind, discard.nexthops) == (RouteKind.BLACKHOLE, ())
                [local] = routes(mirror, Part.ROUTES4, "192.0.2.1/32")
                assert (local.kind, local.table) == (RouteKind.LOCAL, Table.LOCAL)
                [route6] = routes(mirror, Part.ROUTES6, "2001:db8:1::/48")
                assert route6.nexthops == (NextHop(link.ifindex, PEER6),)

    in_own_namespace(main)


def test_every_kind_of_change_arrives() -> None:
    async def main() -> None:
        with addressed_peer():
            async with mirror_running() as mirror:
                state = mirror.state
                run("ip route add 198.51.100.0/24 via 192.0.2.2")
                await until(lambda: bool(routes(mirror, Part.ROUTES4, "198.51.100.0/24")), "add")
                run("ip route replace 198.51.100.0/24 via 192.0.2.9")
                await until(
                    lambda: (
                        routes(mirror, Part.ROUTES4, "198.51.100.0/24")[0].nexthops[0].gateway
                        == IPv4Address("192.0.2.9")
                    ),
                    "replace",
                )
                run("ip route del 198.51.100.0/24")
                await until(lambda: not routes(mirror, Part.ROUTES4, "198.51.100.0/24"), "del")
                run("ip addr add 192.0.2.77/24 dev v0")
                await until(
                    lambda: IPv4Address("192.0.2.77") in {a.ip for a in state.addresses}, ""
                )
                run("ip link set v0 mtu 1400")
                await until(lambda: getattr(state.link_named("v0"), "mtu", 0) == 1400, "mtu")
                run("ip link add v2 type veth peer name v3")
                await until(lambda: state.link_named("v2") is not None, "new link")
                run("ip link del v2")
                await until(lambda: state.link_named("v2") is None, "link gone")

    in_own_namespace(main)


def test_multipath_of_both_families_grows_and_shrinks() -> None:
    async def main() -> None:
        with addressed_peer():
            async with mirror_running() as mirror:

                def gateways(part: Part, dst: str) -> set[str]:
                    return {
                        str(hop.gateway) for r in routes(mirror, part, dst) for hop in r.nexthops
                    }

                run("ip route add 198.51.100.0/24 nexthop via 192.0.2.2 nexthop via 192.0.2.3")
                run("ip -6 route add 2001:db8:1::/48 via 2001:db8::2")
                run("ip -6 route append 2001:db8:1::/48 via 2001:db8::3")
                await until(
                    lambda: (
                        gateways(Part.ROUTES4, "198.51.100.0/24") == {"192.0.2.2", "192.0.2.3"}
                        and gateways(Part.ROUTES6, "2001:db8:1::/48")
                        == {"2001:db8::2", "2001:db8::3"}
                    ),
                    "two paths each",
                )
                run("ip -6 route del 2001:db8:1::/48 via 2001:db8::2")
                await until(
                    lambda: gateways(Part.ROUTES6, "2001:db8:1::/48") == {"2001:db8::3"},
                    "one path left",
                )

    in_own_namespace(main)


def test_routes_of_a_link_that_goes_down_are_noticed_although_nobody_tells() -> None:
    async def main() -> None:
        with addressed_peer():
            run("ip route add 198.51.100.0/24 via 192.0.2.2")
            async with mirror_running() as mirror:
                assert routes(mirror, Part.ROUTES4, "198.51.100.0/24")
                run("ip link set v0 down")
                await until(
                    lambda: not routes(mirror, Part.ROUTES4, "198.51.100.0/24"), "link down"
                )

    in_own_namespace(main)


def test_routes_go_with_their_source_address() -> None:
    async def main() -> None:
        with addressed_peer():
            run("ip addr add 192.0.2.7/32 dev v0")
            run("ip route add 203.0.113.0/24 via 192.0.2.2 src 192.0.2.7")
            async with mirror_running() as mirror:
                assert routes(mirror, Part.ROUTES4, "203.0.113.0/24")
                run("ip addr del 192.0.2.7/32 dev v0")
                await until(lambda: not routes(mirror, Part.ROUTES4, "203.0.113.0/24"), "src gone")
                assert routes(mirror, Part.ROUTES4, "192.0.2.0/24")

    in_own_namespace(main)


def test_nexthop_objects_are_followed() -> None:
    async def main() -> None:
        with addressed_peer():
            run("ip nexthop add id 5 via 192.0.2.2 dev v0")
            run("ip route add 198.51.100.0/24 nhid 5")
            async with mirror_running() as mirror:
                [before] = routes(mirror, Part.ROUTES4, "198.51.100.0/24")
                assert before.nexthops[0].gateway == PEER4
                run("ip nexthop replace id 5 via 192.0.2.3 dev v0")
                await until(
                    lambda: (
                        routes(mirror, Part.ROUTES4, "198.51.100.0/24")[0].nexthops[0].gateway
                        == IPv4Address("192.0.2.3")
                    ),
                    "new gateway",
                )

    in_own_namespace(main)


def test_solicit_makes_the_kernel_resolve_and_a_changed_mac_is_seen() -> None:
    async def main() -> None:
        with addressed_peer() as peer:
            async with mirror_running() as mirror:
                link = mirror.state.link_named("v0")
                assert link is not None
                keys: list[NeighbourKey] = [(link.ifindex, PEER4), (link.ifindex, PEER6)]

                def macs() -> list[bytes | None]:
                    found = [mirror.state.neighbours.get(key) for key in keys]
                    return [n.mac if n is not None and n.usable else None for n in found]

                assert macs() == [None, None]
                for key in keys:
                    assert mirror.solicit(*key)
                await until(lambda: macs() == [peer.mac("v1")] * 2, "resolved")
                peer.run("ip link set v1 address 02:00:00:00:00:77")
                peer.run("ping -c1 -W5 192.0.2.1")
                peer.run("ping -c1 -W5 2001:db8::1")
                await until(lambda: macs() == [bytes.fromhex("020000000077")] * 2, "new MAC")

    in_own_namespace(main)


def test_solicitations_have_a_rate_and_refusals_are_counted() -> None:
    async def main() -> None:
        with addressed_peer():
            async with mirror_running() as mirror:
                no_such_link = 9999
                sent = [mirror.solicit(no_such_link, PEER4) for _ in range(5 * SOLICIT_BURST)]
                assert SOLICIT_BURST <= sum(sent) < len(sent)
                assert mirror.counters["unsent"] == len(sent) - sum(sent)
                await until(lambda: mirror.counters["refused"] == sum(sent), "every refusal")

    in_own_namespace(main)


def test_lost_notices_are_made_good(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rtnetlink, "NOTICE_BUFFER_LEN", 1024)  # the kernel makes some 2 KiB of it

    async def main() -> None:
        with addressed_peer():
            async with mirror_running() as mirror:
                batch = "".join(
                    f"route add 198.51.{i // 250}.{i % 250}/32 via 192.0.2.2\n" for i in range(1000)
                )
                # Blocks the event loop, so the mirror cannot read meanwhile.
                subprocess.run(["ip", "-batch", "-"], input=batch, text=True, check=True)
                await until(lambda: mirror.counters["overruns"] > 0, "overrun")

                def seen() -> int:
                    wanted = IPv4Network("198.51.0.0/16")
                    return sum(
                        isinstance(k[0], IPv4Network) and k[0].subnet_of(wanted)
                        for k in mirror.state.routes[Part.ROUTES4]
                    )

                await until(lambda: seen() == 1000, "all routes")

    in_own_namespace(main)


def test_changes_name_what_changed() -> None:
    async def main() -> None:
        with addressed_peer():
            heard: list[Changes] = []
            async with mirror_running(heard.append) as mirror:
                assert {part for c in heard for part in c.routes} == {Part.ROUTES4, Part.ROUTES6}
                heard.clear()
                run("ip -6 route add 2001:db8:1::/48 via 2001:db8::2")
                await until(lambda: bool(heard), "a change")
                assert heard[0] == Changes(routes={Part.ROUTES6})
                assert mirror.counters["undecodable"] == 0

    in_own_namespace(main)
