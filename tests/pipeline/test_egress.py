from __future__ import annotations

import random

import pytest

from dstmrouter.pipeline.egress import ROWS
from tests import oracle
from tests.pipeline import packets, worlds
from tests.pipeline.machine import Machine


def sent(router: Machine, burst: list[bytes]) -> None:
    """All of a burst must leave as the oracle says."""
    now = worlds.NOW_S
    wanted = [oracle.fate(router.world, frame, worlds.INTERNET, now) for frame in burst]
    assert all(fate.frame for fate in wanted)
    assert router.run(burst, worlds.INTERNET, now) == wanted


def test_bursts_larger_than_the_records_and_small_ones_after_them() -> None:
    router = Machine(worlds.world(), frames=2 * ROWS)
    kinds = [
        packets.ether(packets.ipv4()),
        packets.ether(packets.ipv4(dst=worlds.leased(2), tos=0x28)),
        packets.ether(packets.ipv4(dst=worlds.leased(3), payload=bytes(99))),
        packets.tunnelled(),
        packets.tunnelled(dst="10.1.0.1", tos=0x48, traffic_class=0x48),
    ]
    dice = random.Random(4)
    for size in (3, ROWS + 1, 5, 2 * ROWS, 1):
        sent(router, dice.choices(kinds, k=size))


@pytest.mark.parametrize("vlan", [None, 1, 77, 4094])
def test_link_headers_of_tagged_and_untagged_ports(vlan: int | None) -> None:
    router = Machine(worlds.world(access_vlan=vlan))
    (fate,) = router.run([packets.ether(packets.ipv4())], worlds.INTERNET, worlds.NOW_S)
    assert fate.frame is not None
    tag = "" if vlan is None else f"8100{vlan:04x}"
    macs = "0200000000a1" + "020000000001"
    assert fate.frame.hex().startswith(macs + tag + "86dd6")
    assert len(fate.frame) == 14 + len(tag) // 2 + 40 + len(packets.ipv4())


def test_what_one_packet_had_does_not_stay_for_the_next() -> None:
    """Records are kept between bursts: every column that differs has to be filled again."""
    router = Machine(worlds.world())
    long = packets.ether(packets.ipv4(dst=worlds.leased(3), payload=bytes(400), tos=0xFF))
    for frame in (long, packets.ether(packets.ipv4()), long):
        sent(router, [frame])


def test_a_single_tep6_is_the_source_of_all() -> None:
    router = Machine(worlds.world(tep6=(worlds.TEP6_C,)))
    burst = [packets.ether(packets.ipv4(dst=worlds.leased(n))) for n in (1, 2, 3)]
    for fate in router.run(burst, worlds.INTERNET, worlds.NOW_S):
        assert fate.frame is not None
        assert worlds.TEP6_C.packed in fate.frame[:46]


def test_neighbours_that_differ_change_or_come_back() -> None:
    """What a port has written for all of a burst must not stay where the next one differs."""
    router = Machine(worlds.world())
    ours, theirs = packets.ether(packets.ipv4()), packets.ether(packets.ipv4(dst=worlds.leased(2)))
    for burst in ([ours] * 3, [ours, theirs] * 4, [theirs], [ours] * 9, [theirs] * 2, [ours]):
        sent(router, burst)
