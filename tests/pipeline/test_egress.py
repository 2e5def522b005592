from __future__ import annotations

import random

import numpy as np
import pytest

from dstmrouter.pipeline.bindings import ROW
from dstmrouter.pipeline.egress import ROWS, PortWriter, TunnelFill
from dstmrouter.pipeline.hops import HOP, HopState, HopTable
from dstmrouter.pipeline.memory import FrameMemory
from dstmrouter.pipeline.ports import PORT
from dstmrouter.pipeline.rules import TunnelRules
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


@pytest.mark.parametrize("vlan", [0, 77])
def test_every_packet_goes_to_its_neighbour_whoever_came_before(vlan: int) -> None:
    """Where all of a burst have one, its address is not written again; it must be the right one."""
    memory = FrameMemory(bytearray(8 * 256))
    port = np.zeros(1, PORT)
    port["vlan"] = vlan
    writer = PortWriter(memory, port[0], TunnelRules(tep6=(worlds.TEP6,)))
    hops = HopTable(np.zeros(8, np.uint64))
    for hop in range(8):
        hops.set(hop, bytes([hop + 1] * 6), 0, HopState.RESOLVED)
    before = 18 if vlan else 14
    for asked in ([1, 1], [2, 3, 2], [1, 1, 1, 1], [4], [4, 4, 4, 4], [5, 4], [4, 4]):
        n, wanted = len(asked), [bytes([hop + 1] * 6) for hop in asked]
        macs = hops.words_of(np.array(asked, np.uint32)).view(HOP)["mac"]
        at = np.arange(n, dtype=np.intp) * 256 + 128
        inner = np.zeros(n, "V20")
        writer.write_link(at, macs, inner)
        assert [memory.octets(start - before, 6) for start in at.tolist()] == wanted
        fill = TunnelFill(macs, np.zeros(n, ROW), np.zeros(n, np.uint64), inner)
        writer.write_tunnel(at, np.zeros(n, np.int64), fill)
        assert [memory.octets(start - 40 - before, 6) for start in at.tolist()] == wanted
