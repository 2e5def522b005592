from __future__ import annotations

from ipaddress import IPv4Address, IPv4Network

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dstmrouter.errors import ConfigError
from dstmrouter.leases.pool import AddressSpace, Pool, PortSets, whole_addresses
from dstmrouter.leases.sharing import WHOLE, Sharing
from tests.leases.lending import pool


def blocks(pairs: list[tuple[int, int]]) -> list[tuple[IPv4Address, IPv4Address]]:
    return [(IPv4Address(first), IPv4Address(last)) for first, last in pairs]


RANGES = st.tuples(st.integers(0, 60), st.integers(0, 20)).map(lambda p: (p[0], p[0] + p[1]))


@given(span=RANGES, holes=st.lists(RANGES, max_size=5))
def test_pool_is_its_addresses_without_the_excluded(
    span: tuple[int, int], holes: list[tuple[int, int]]
) -> None:
    left = set(range(span[0], span[1] + 1))
    for first, last in holes:
        left -= set(range(first, last + 1))
    if not left:
        with pytest.raises(ConfigError, match="pool p: no address is left"):
            Pool.of("p", blocks([span]), blocks(holes))
        return
    found = Pool.of("p", blocks([span]), blocks(holes))
    addresses = [a for first, last in found.blocks for a in range(first, last + 1)]
    assert addresses == sorted(left)
    assert len(found) == len(left)


def test_slots_count_through_pools_in_their_order() -> None:
    space = AddressSpace(
        [
            pool("198.51.100.8", "198.51.100.11", exclude=("198.51.100.9",)),
            pool("192.0.2.0", "192.0.2.1", name="second"),
        ]
    )
    expected = ["198.51.100.8", "198.51.100.10", "198.51.100.11", "192.0.2.0", "192.0.2.1"]
    assert [str(space.address(slot)) for slot in range(space.capacity)] == expected
    assert space.bounds == (range(3), range(3, 5))
    assert [space.pool_index(slot) for slot in range(5)] == [0, 0, 0, 1, 1]


@pytest.mark.parametrize(
    "outside",
    ["0.0.0.0", "192.0.1.255", "192.0.2.2", "198.51.100.9", "198.51.100.12", "255.255.255.255"],
)
def test_address_outside_has_no_slot(outside: str) -> None:
    space = AddressSpace(
        [
            pool("198.51.100.8", "198.51.100.11", exclude=("198.51.100.9",)),
            pool("192.0.2.0", "192.0.2.1", name="second"),
        ]
    )
    assert space.slot(IPv4Address(outside)) is None
    assert space.slots(
        np.array([int(IPv4Address(outside))], np.uint32), whole_addresses(1)
    ).tolist() == [-1]


@given(st.lists(RANGES, min_size=1, max_size=6))
def test_slot_and_address_are_inverse_or_pools_overlap(ranges: list[tuple[int, int]]) -> None:
    pools = [Pool(f"p{n}", (span,)) for n, span in enumerate(ranges)]
    every = [a for first, last in ranges for a in range(first, last + 1)]
    if len(set(every)) < len(every):
        with pytest.raises(ConfigError, match=r"pools p\d and p\d overlap at 0\.0\.0\.\d+"):
            AddressSpace(pools)
        return
    space = AddressSpace(pools)
    assert space.ipv4.tolist() == every
    assert [space.slot(IPv4Address(a)) for a in every] == list(range(len(every)))
    assert space.slots(space.ipv4, whole_addresses(len(every))).tolist() == list(range(len(every)))


def test_pool_with_an_address_twice_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"pool p: 0\.0\.0\.5 is in it twice"):
        Pool.of("p", blocks([(5, 9), (0, 5)]))


def test_a_slash_8_costs_no_object_per_address() -> None:
    network = IPv4Network("10.0.0.0/8")
    space = AddressSpace([pool(str(network[0]), str(network[-1]))])
    assert space.capacity == 1 << 24
    assert space.slot(IPv4Address("10.1.0.7")) == (1 << 16) + 7
    assert space.ipv4.nbytes == 4 << 24


SHARINGS = st.sampled_from([WHOLE, Sharing(6, 1), Sharing(6, 2), Sharing(0, 6)])


@given(st.lists(SHARINGS, min_size=1, max_size=4))
def test_slot_and_port_set_are_inverse(sharings: list[Sharing]) -> None:
    made = [Pool(f"p{n}", ((100 * n, 100 * n + 2),), sharing=how) for n, how in enumerate(sharings)]
    space = AddressSpace(made)
    assert space.capacity == sum(len(each) for each in made)
    assert [each.addresses for each in made] == [3] * len(made)
    every = range(space.capacity)
    shares = [(space.address(slot), int(space.psid[slot])) for slot in every]
    assert len(set(shares)) == space.capacity
    assert [space.slot(*share) for share in shares] == list(every)
    assert space.slots(space.ipv4, space.port_sets(np.array(every))).tolist() == list(every)
    for slot, (address, psid) in zip(every, shares, strict=True):
        sharing = made[space.pool_index(slot)].sharing
        assert space.port_set(slot) == sharing.port_set(psid)
        assert slot in space.slots_of(address)
        assert len(space.slots_of(address)) == sharing.sets
    assert list(space.slots_of(IPv4Address(99))) == []
    assert space.slot(IPv4Address(1), 64) is None


def test_a_port_set_of_another_sharing_has_no_slot() -> None:
    space = AddressSpace([Pool("p", ((100, 102),), sharing=Sharing(6, 2))])
    offset = np.array([6, 6, 0, 0, 6], np.uint8)
    length = np.array([2, 1, 2, 0, 2], np.uint8)
    psid = np.array([3, 1, 1, 0, 4], np.uint16)
    addresses = np.full(5, 101, np.uint32)
    assert space.slots(addresses, PortSets(offset, length, psid)).tolist() == [7, -1, -1, -1, -1]
