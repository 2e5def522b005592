"""A packet's fate does not depend on its neighbours: bursts against their packets one by one."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Final

import pytest

from dstmrouter.pipeline.verdict import Verdict
from tests import oracle
from tests.fuzz.frames import seeds
from tests.pipeline import worlds
from tests.pipeline.examples import EXAMPLES
from tests.pipeline.machine import FRAMES, Machine

if TYPE_CHECKING:
    from tests.oracle import Fate

pytestmark = pytest.mark.usefixtures("untraced")

SIZES: Final = (*range(1, 10), 255, 256, 257, 1023, 1024)
assert max(SIZES) <= FRAMES


def mixed(size: int, seed: int) -> list[bytes]:
    """Frames of all kinds, in any order."""
    dice = random.Random(seed)
    kinds = [example.frame for example in EXAMPLES.values()]
    while len(kinds) < 3 * len(EXAMPLES):
        kinds += seeds(dice)
    kinds = [kind for kind in kinds if not is_fragment(kind)]
    return dice.choices(kinds, k=size)


def is_fragment(frame: bytes) -> bool:
    """What becomes of an IPv6 fragment is said by others of its datagram: test_reassembly.py."""
    fates = (oracle.fate(worlds.world(), frame, port, worlds.NOW_S) for port in range(2))
    return "DROP_OUTER_FRAGMENT" in {fate.verdict for fate in fates}


def one_by_one(machine: Machine, frames: list[bytes], port: int) -> tuple[list[Fate], list[Fate]]:
    """The fates of frames that arrive alone, and what was made of them."""
    fates: list[Fate] = []
    made: list[Fate] = []
    for frame in frames:
        fates += machine.run([frame], port, worlds.NOW_S)
        made += machine.made
    return fates, made


def machines() -> tuple[Machine, Machine]:
    """One for bursts, a small one for packets alone; both see the same packets in one order."""
    world = worlds.world()
    return Machine(world, frames=2 * FRAMES), Machine(world, frames=512, spare=256)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("port", [worlds.ACCESS, worlds.INTERNET])
def test_neighbours_do_not_change_a_fate(size: int, port: int) -> None:
    frames = mixed(size, seed=size)
    together, alone = machines()
    found = together.run(frames, port, worlds.NOW_S)
    expected, made = one_by_one(alone, frames, port)
    for frame, fate, own in zip(frames, found, expected, strict=True):
        assert fate == own, frame.hex()
    assert sorted(map(repr, together.made)) == sorted(map(repr, made))


@pytest.mark.parametrize("place", range(9))
def test_vpp_1_an_odd_packet_in_any_place(place: int) -> None:
    """VPP's loop over pairs leaves a rest; here, every packet of a burst is once the odd one."""
    together, alone = machines()
    usual = [EXAMPLES[Verdict.ENCAPSULATED].frame] * 9
    for example in EXAMPLES.values():
        burst = [*usual[:place], example.frame, *usual[place + 1 :]]
        found = together.run(burst, worlds.ACCESS, worlds.NOW_S)
        assert found == one_by_one(alone, burst, worlds.ACCESS)[0]
