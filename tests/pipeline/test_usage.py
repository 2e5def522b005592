from __future__ import annotations

import random
from collections import Counter
from functools import cache
from typing import TYPE_CHECKING, Final

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dstmrouter.pipeline.usage import (
    FROM_CLIENT,
    OCTETS_TO,
    PACKETS_TO,
    TO_CLIENT,
    Charge,
    UsageTable,
)
from dstmrouter.pipeline.verdict import Verdict
from tests import oracle
from tests.oracle_usage import usage
from tests.pipeline import packets, traffic, worlds
from tests.pipeline.machine import Machine
from tests.pipeline.packets import ether, ipv4, ipv6, ports, tunnelled
from tests.pipeline.usages import counted

if TYPE_CHECKING:
    from tests.oracle_usage import Key
    from tests.pipeline.worlds import World

WORLDS: Final[dict[str, World]] = {
    "usual": worlds.world(),
    "small tunnel": worlds.world(path_mtu=1280),
    "pieces inside": worlds.world(path_mtu=1281, fragment_inner=True),
}
SHARED: Final = worlds.leased(5)
WHOLE: Final = worlds.leased(1)


@cache
def machine(name: str = "usual") -> Machine:
    return Machine(WORLDS[name])


def used(router: Machine, *bursts: list[bytes], port: int = worlds.ACCESS) -> Counter[Key]:
    """What bursts, one after the other, add."""
    router.tables.usage.values[:] = 0
    router.tables.usage.turn(on=True)
    for burst in bursts:
        router.run(burst, port, worlds.NOW_S, remember=burst is not bursts[-1])
    router.tables.usage.turn(on=False)
    return counted(router.world, router.tables)


def lines(packets_: int, octets: int, *key: object, way: str) -> dict[tuple[object, ...], int]:
    return {(*key, f"packets_{way}_client"): packets_, (*key, f"octets_{way}_client"): octets}


@pytest.mark.untraced
@pytest.mark.parametrize(("name", "size"), [("usual", 1), *((name, 200) for name in WORLDS)])
@settings(max_examples=25)
@given(kinds=st.lists(traffic.frames(), min_size=8, max_size=24), seed=st.integers(0, 1 << 30))
def test_any_burst_adds_what_its_packets_would_add_alone(
    name: str, size: int, kinds: list[bytes], seed: int
) -> None:
    world, port = WORLDS[name], worlds.ACCESS
    fates = {kind: oracle.fate(world, kind, port, worlds.NOW_S).verdict for kind in kinds}
    # What becomes of fragments, others of their datagram say.
    later = {"DROP_OUTER_FRAGMENT", "KEPT_FRAGMENT", "DROP_FRAGMENT_ODD"}
    fates = {kind: fate for kind, fate in fates.items() if fate not in later and not piece(kind)}
    burst = random.Random(seed).choices(list(fates) or [tunnelled()], k=size)
    expected: Counter[Key] = Counter()
    for frame in burst:
        expected += usage(world, frame, port, fates.get(frame, "DECAPSULATED"))
    assert used(machine(name), burst) == expected


def piece(frame: bytes) -> bool:
    """Whether it is maybe an IPv4 fragment of a shared address."""
    shared = {address.packed for address in worlds.SHARED}
    return any(
        frame[at + 12 : at + 16] in shared or frame[at + 16 : at + 20] in shared
        for at in range(14, len(frame) - 20)
        if int.from_bytes(frame[at + 6 : at + 8], "big") & 0x3FFF
    )


def test_off_nothing_is_counted() -> None:
    router = machine()
    router.tables.usage.values[:] = 0
    router.run([ether(ipv4()), tunnelled()] * 5, worlds.ACCESS, worlds.NOW_S)
    assert router.outcome.charges == []
    assert not router.tables.usage.values.any()


def test_headers_of_tunnel_and_link_and_padding_are_nobodys() -> None:
    short = ipv4(payload=ports(4711, 53, b""))
    frames = [ether(short, tci=0) + bytes(18), tunnelled(payload=ports(4711, 53, b"")) + bytes(9)]
    assert used(machine(), frames) == Counter(
        lines(1, 24, WHOLE, None, way="to") | lines(1, 24, WHOLE, None, way="from")
    )


def test_both_clients_pay_for_what_goes_from_one_to_the_other() -> None:
    frame, odd = tunnelled(dst=worlds.leased(3)), tunnelled(dst=worlds.leased(3), traffic_class=1)
    size = len(frame) - 54
    there, back = (WHOLE, None), (worlds.leased(3), None)
    assert used(machine(), [frame] * 3 + [odd]) == Counter(
        lines(4, 4 * size, *there, way="from") | lines(4, 4 * size, *back, way="to")
    )


def test_what_is_dropped_on_the_way_to_the_other_client_costs_neither() -> None:
    frames = [tunnelled(dst=worlds.leased(n)) for n in (4, 6, 7, 200)]
    assert used(machine(), frames) == Counter()


def test_answers_of_the_router_itself_are_nobodys() -> None:
    ping = tunnelled(dst=worlds.TEP4, payload=packets.echo(), protocol=1)
    assert used(machine(), [ping, ether(ipv4(ttl=1)), tunnelled(ttl=1)]) == Counter()


@pytest.mark.parametrize("name", ["small tunnel", "pieces inside"])
def test_a_packet_that_is_cut_counts_once_as_it_came(name: str) -> None:
    large = ether(ipv4(payload=ports(4711, 53, bytes(1376)), fragment=0))
    assert used(machine(name), [large] * 2) == Counter(lines(2, 2800, WHOLE, None, way="to"))


def test_a_packet_that_comes_in_ipv6_fragments_counts_once_when_it_is_whole() -> None:
    inner = ipv4(WHOLE, packets.FAR, ports(4711, 53, bytes(96)))
    parts = [
        ether(ipv6(bytes([4, 0, 0, at | (at == 0), 0, 0, 0, 9]) + octets, next_header=44))
        for at, octets in ((0, inner[:64]), (64, inner[64:]))
    ]
    expected = Counter(lines(1, 120, WHOLE, None, way="from"))
    assert used(machine(), parts) == used(machine(), parts[:1], parts[1:]) == expected


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 1, 0), (1, 0, 2)])
@pytest.mark.parametrize("dst", [packets.FAR, SHARED, worlds.leased(3)])
def test_each_ipv4_fragment_of_a_sharer_counts_once(order: tuple[int, ...], dst: object) -> None:
    """Also those whose first piece comes later, and those that the pass sees twice."""
    payload = ports(1232, 2044, bytes(68))
    pieces = [
        tunnelled(
            5,
            dst,  # type: ignore[arg-type]
            payload=payload[at : at + 24],
            fragment=(0x2000 if at < 48 else 0) | at // 8,
        )
        for at in (0, 24, 48)
    ]
    expected = lines(3, 3 * 44, SHARED, 0x34, way="from")
    if dst == SHARED:
        expected |= lines(3, 3 * 44, SHARED, 0xFF, way="to")
    elif dst != packets.FAR:
        expected |= lines(3, 3 * 44, dst, None, way="to")
    burst = [pieces[n] for n in order]
    assert used(machine(), burst) == used(machine(), *([one] for one in burst)) == expected


def test_workers_have_lines_of_their_own_and_readers_take_sums() -> None:
    memory = bytearray(UsageTable.size(3, 7))
    table, other = UsageTable(memory, 3, 7), UsageTable(memory, 3, 7)
    assert not other.on
    table.turn(on=True)
    assert other.on
    for worker in range(3):
        table.values[worker, 5] = [1, 10, 2, 20 + worker]
    assert other.sums(np.array([5, 6], np.uint32)).tolist() == [[3, 30, 6, 63], [0, 0, 0, 0]]
    other.clear(np.array([5], np.uint32))
    assert not table.values.any()
    table.turn(on=False)
    assert not other.on


def test_a_charge_is_settled_by_the_last_verdicts_of_its_burst() -> None:
    line = np.zeros((9, 4), np.uint64)
    rows = np.arange(4)
    charge = Charge(TO_CLIENT, rows, np.array([3, 8, 3, 3], np.uint32), np.array([20, 30, 40, 50]))
    verdicts = np.full(6, Verdict.DROP_TTL, np.uint8)
    verdicts[[1, 2, 4]] = Verdict.ENCAPSULATED
    charge.settle(line, verdicts)
    assert line[[3, 8], PACKETS_TO].tolist() == [1, 1]
    assert line[[3, 8], OCTETS_TO].tolist() == [40, 30]
    charge.moved(np.array([5, 4, 0, 0])).settle(line, verdicts)
    assert line[8].tolist() == [2, 60, 0, 0]
    back = Charge(FROM_CLIENT, rows[:1], np.array([8], np.uint32), np.array([77]))
    back.settle(line, np.array([Verdict.DECAPSULATED], np.uint8))
    assert line[8].tolist() == [2, 60, 1, 77]
