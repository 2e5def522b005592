"""R27 by its vectors, and what comes of packets of shared addresses; both engines."""

from __future__ import annotations

import dataclasses
from functools import cache
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests import oracle, oracle_ports
from tests.pipeline import packets, worlds
from tests.pipeline.machine import Machine
from tests.pipeline.packets import FAR, echo, error, ether, ipv4, ipv6, ports

if TYPE_CHECKING:
    from ipaddress import IPv4Address, IPv6Address

SHARED = worlds.leased(5)
CLIENT, OTHER, THIRD = worlds.CLIENTS6[5], worlds.CLIENTS6[2], worlds.CLIENTS6[9]


def world_of(offset: int, length: int, *psids: int) -> worlds.World:
    holders = {psid: worlds.BindingSpec(CLIENT, worlds.CLIENTS) for psid in psids}
    shared = {SHARED: worlds.SharedSpec(offset, length, holders)}
    return dataclasses.replace(worlds.world(), shared=shared)


@cache
def machine(name: str = "usual") -> Machine:
    return Machine(worlds.world(hairpin=name != "no hairpin"))


def to_client(payload: bytes, protocol: int = 17, dst: IPv4Address = SHARED) -> oracle.Fate:
    frame = ether(ipv4(dst=dst, payload=payload, protocol=protocol))
    return machine().run([frame], worlds.INTERNET, worlds.NOW_S)[0]


def from_client(
    payload: bytes,
    protocol: int = 17,
    *,
    client6: IPv6Address = CLIENT,
    dst: IPv4Address = FAR,
    name: str = "usual",
) -> oracle.Fate:
    frame = ether(ipv6(ipv4(SHARED, dst, payload, protocol=protocol), client6))
    return machine(name).run([frame], worlds.ACCESS, worlds.NOW_S)[0]


def receiver(fate: oracle.Fate) -> bytes:
    assert fate.frame is not None
    at = 18 if fate.port == worlds.TAGGED else 14
    return fate.frame[at + 24 : at + 40]


def reach(offset: int, length: int, psid: int, asked: list[int]) -> list[int]:
    """Which of the ports `asked` are the holder's of a PSID."""
    router = Machine(world_of(offset, length, psid))
    got = []
    for first in range(0, len(asked), 1024):
        part = asked[first : first + 1024]
        frames = [ether(ipv4(dst=SHARED, payload=ports(9, port, b""))) for port in part]
        fates = router.run(frames, worlds.INTERNET, 0)
        assert {fate.verdict for fate in fates} <= {"ENCAPSULATED", "DROP_NO_BINDING"}
        sent = zip(part, fates, strict=True)
        got += [port for port, fate in sent if fate.verdict == "ENCAPSULATED"]
    return got


def ranges(offset: int, length: int, psid: int) -> list[tuple[int, int]]:
    """The ports of a PSID, found by asking for all 65,536."""
    got = reach(offset, length, psid, list(range(1 << 16)))
    found: list[tuple[int, int]] = []
    for port in got:
        if found and found[-1][1] == port - 1:
            found[-1] = found[-1][0], port
        else:
            found.append((port, port))
    return found


def test_r27_vector_of_63_ranges() -> None:
    found = ranges(6, 8, 0x34)
    assert (found[0], found[1], found[-1]) == ((1232, 1235), (2256, 2259), (64720, 64723))
    assert len(found) == 63
    assert sum(last - first + 1 for first, last in found) == 252


@pytest.mark.parametrize(
    ("length", "psid", "first", "last"), [(6, 1, 1024, 2047), (4, 15, 61440, 65535)]
)
def test_r27_vectors_of_lightweight_4over6(length: int, psid: int, first: int, last: int) -> None:
    around = [first - 1, first, first + 1, last - 1, last, (last + 1) % (1 << 16), 0, 512]
    assert reach(0, length, psid, around) == [first, first + 1, last - 1, last]


@pytest.mark.parametrize(
    ("offset", "length", "psid"), [(0, 16, 53), (1, 15, 53), (15, 1, 1), (10, 6, 63), (0, 1, 1)]
)
def test_r27_divisions_at_the_edges(offset: int, length: int, psid: int) -> None:
    asked = sorted({near ^ 1 << bit for near in (0, psid, 53, 0xFFFF) for bit in range(17)})
    asked = [port for port in asked if port < 1 << 16]
    got = reach(offset, length, psid, asked)
    assert got == [p for p in asked if oracle_ports.psid_of(p, offset, length) == psid]


def test_r2_sharers_get_what_is_for_their_ports() -> None:
    for port, holder in ((1232, CLIENT), (2256, CLIENT), (1236, OTHER), (2044, THIRD)):
        assert receiver(to_client(ports(53, port))) == holder.packed
    for port, verdict in ((1240, "DROP_NEIGHBOUR"), (1244, "DROP_NO_BINDING"), (208, None)):
        assert to_client(ports(53, port)).verdict == (verdict or "DROP_NO_BINDING")


@pytest.mark.parametrize("protocol", [6, 17, 33, 132])
def test_r2_all_transports_with_ports(protocol: int) -> None:
    assert receiver(to_client(ports(53, 1236), protocol)) == OTHER.packed
    assert from_client(ports(1232, 53), protocol).verdict == "DECAPSULATED"


def test_r2_unknown_transports_to_a_shared_address_are_counted() -> None:
    assert to_client(ports(53, 1232), 47).verdict == "DROP_NO_PORT"
    assert from_client(ports(1232, 53), 47).verdict == "DROP_NO_PORT"


@pytest.mark.parametrize(
    ("port", "client6", "verdict"),
    [
        (1232, CLIENT, "DECAPSULATED"),
        (1235, CLIENT, "DECAPSULATED"),
        (64723, CLIENT, "DECAPSULATED"),
        (1236, OTHER, "DECAPSULATED"),
        (1236, CLIENT, "DROP_SPOOF_PORT"),  # a sharer's
        (1232, OTHER, "DROP_SPOOF_PORT"),
        (1232, worlds.CLIENTS6[8], "DROP_SPOOF_PORT"),
        (1231, CLIENT, "DROP_SPOOF_PORT"),  # nobody's
        (1244, CLIENT, "DROP_SPOOF_PORT"),  # its time is over
        (208, CLIENT, "DROP_SPOOF_PORT"),  # A = 0
        (53, CLIENT, "DROP_SPOOF_PORT"),
    ],
)
def test_r12_source_ports_are_those_of_the_client(
    port: int, client6: IPv6Address, verdict: str
) -> None:
    assert from_client(ports(port, 53), client6=client6).verdict == verdict


def test_r16_sharers_of_an_address_reach_each_other() -> None:
    fate = from_client(ports(1232, 1236), dst=SHARED)
    assert (fate.verdict, receiver(fate)) == ("HAIRPINNED", OTHER.packed)
    assert from_client(ports(1232, 1231), dst=SHARED).verdict == "DROP_NO_BINDING"
    assert from_client(ports(1231, 1236), dst=SHARED).verdict == "DROP_SPOOF_PORT"
    refused = from_client(ports(1232, 1236), dst=SHARED, name="no hairpin")
    assert refused.verdict == "DROP_HAIRPIN_OFF"


def test_r25_pings_of_and_to_sharers() -> None:
    assert from_client(echo(ident=1232), 1).verdict == "DECAPSULATED"
    assert from_client(echo(ident=1236), 1).verdict == "DROP_SPOOF_PORT"
    assert receiver(to_client(echo(0, ident=1232), 1)) == CLIENT.packed
    assert receiver(to_client(echo(8, ident=1236), 1)) == OTHER.packed
    assert to_client(echo(8, ident=208), 1).verdict == "DROP_NO_BINDING"
    answered = from_client(echo(ident=1232), 1, dst=worlds.TEP4)
    assert (answered.verdict, receiver(answered)) == ("ECHO_ANSWERED", CLIENT.packed)


def test_r25_errors_reach_who_sent_the_packet_and_may_be_sent_by_who_got_it() -> None:
    sent = ipv4(SHARED, FAR, ports(1236, 53))
    assert receiver(to_client(error(sent), 1)) == OTHER.packed
    received = ipv4(FAR, SHARED, ports(53, 1232))
    assert from_client(error(received), 1).verdict == "DECAPSULATED"
    assert from_client(error(received), 1, client6=OTHER).verdict == "DROP_SPOOF_PORT"
    assert from_client(error(sent), 1).verdict == "DROP_NO_PORT"


def test_full_addresses_need_no_port() -> None:
    for payload, protocol in ((b"", 17), (ports(1, 2), 47), (echo(13), 1), (error(b"?"), 1)):
        assert to_client(payload, protocol, worlds.leased(1)).verdict == "ENCAPSULATED"


@pytest.mark.untraced
@settings(max_examples=10, deadline=None)
@given(
    shape=st.integers(0, 16).flatmap(
        lambda offset: st.tuples(st.just(offset), st.integers(1, max(16 - offset, 1)))
    ),
    asked=st.lists(st.integers(0, 0xFFFF), min_size=1, max_size=40),
    data=st.data(),
)
def test_r27_any_division(shape: tuple[int, int], asked: list[int], data: st.DataObject) -> None:
    offset, length = shape if sum(shape) <= 16 else (0, 16)
    psids = data.draw(st.sets(st.integers(0, (1 << length) - 1), min_size=1, max_size=5))
    world = world_of(offset, length, *psids)
    frames = [ether(ipv4(dst=SHARED, payload=ports(9, port))) for port in asked]
    got = Machine(world, frames=64).run(frames, worlds.INTERNET, 0)
    assert got == [oracle.fate(world, frame, worlds.INTERNET, 0) for frame in frames]


def test_a_burst_of_sharers_and_others_is_sorted_out() -> None:
    router = machine()
    dice = np.random.default_rng(3)
    frames = [
        ether(ipv4(dst=worlds.leased(int(number)), payload=ports(53, int(port))))
        for number, port in zip(
            dice.choice([1, 3, 5, 18, 19, 20, 200], 300),
            dice.choice(worlds.PORTS, 300),
            strict=True,
        )
    ]
    expected = [oracle.fate(router.world, f, worlds.INTERNET, worlds.NOW_S) for f in frames]
    assert router.run(frames, worlds.INTERNET, worlds.NOW_S) == expected
    assert {"ENCAPSULATED", "DROP_NO_BINDING"} <= {fate.verdict for fate in expected}


def test_octets_of_a_packet_that_is_not_there_are_no_ports() -> None:
    frame = ether(ipv4(dst=SHARED, payload=b"")) + packets.ports(53, 1232)
    assert machine().run([frame], worlds.INTERNET, worlds.NOW_S)[0].verdict == "DROP_NO_PORT"
