from __future__ import annotations

from functools import cache

import pytest

from dstmrouter.pipeline.verdict import Verdict
from tests.pipeline import packets, worlds
from tests.pipeline.machine import Machine
from tests.pipeline.packets import ether, ipv4
from tests.pipeline.told import told


@cache
def machine(*, hairpin: bool) -> Machine:
    return Machine(worlds.world(hairpin=hairpin))


def expired(src: str) -> bytes:
    return ether(ipv4(src, ttl=1, payload=packets.UDP_PORTS + b"....."))


@pytest.mark.parametrize("hairpin", [True, False])
def test_r16_what_goes_to_our_pool_goes_through_a_tunnel(hairpin: bool) -> None:
    router = machine(hairpin=hairpin)
    router.run([expired(str(worlds.leased(3)))], worlds.INTERNET, worlds.NOW_S)
    [error] = [told(fate) for fate in router.made]
    assert error.port == worlds.ACCESS
    assert error.tunnel == (str(worlds.TEP6_C), str(worlds.CLIENTS6[3]))


@pytest.mark.parametrize(
    ("src", "gleaned"),
    [
        ("10.2.0.1", []),  # the neighbour is not known yet
        ("10.3.0.9", [0x0A030009]),  # the kernel has to be asked for it
        ("10.4.0.1", []),  # no route
        (str(worlds.leased(200)), []),
        (str(worlds.leased(4)), []),  # over
        (str(worlds.TEP4), []),
    ],
)
def test_what_has_no_way_gives_its_frame_back_and_is_counted(src: str, gleaned: list[int]) -> None:
    router = machine(hairpin=True)
    free = len(router.spare)
    router.run([expired(src)], worlds.INTERNET, worlds.NOW_S)
    assert router.made == []
    assert [(noted.verdict, noted.packets) for noted in router.outcome.noted] == [
        (Verdict.UNSENT_NO_WAY, 1)
    ]
    assert len(router.spare) == free
    assert [int(address) for column in router.outcome.gleaned for address in column] == gleaned


def test_one_burst_takes_all_ways() -> None:
    router = machine(hairpin=True)
    sources = ["8.8.8.8", str(worlds.leased(1)), "10.4.0.1", "10.1.0.1", str(worlds.leased(2))]
    router.run([expired(src) for src in sources], worlds.INTERNET, worlds.NOW_S)
    found = {(error.to, error.port) for error in map(told, router.made)}
    assert found == {
        ("8.8.8.8", worlds.INTERNET),
        ("10.1.0.1", worlds.SMALL),
        (str(worlds.leased(1)), worlds.ACCESS),
        (str(worlds.leased(2)), worlds.TAGGED),
    }


def test_r25_an_error_to_a_shared_address_goes_to_the_one_who_sent_what_it_quotes() -> None:
    payload = packets.ports(1232, 53) + b"....."
    client = worlds.SHARED[worlds.leased(5)].holders[0x34]
    inner = ipv4(worlds.leased(5), packets.FAR, payload, ttl=1)
    router = machine(hairpin=True)
    frame = ether(packets.ipv6(inner, client.client6))
    assert router.run([frame], worlds.ACCESS, worlds.NOW_S)[0].verdict == "DROP_TTL"
    [error] = [told(fate) for fate in router.made]
    assert error.tunnel == (str(worlds.TEP6), str(client.client6))
