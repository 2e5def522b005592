from __future__ import annotations

import numpy as np
import pytest

from dstmrouter.pipeline.link import Packets, split
from dstmrouter.pipeline.memory import FrameMemory
from dstmrouter.pipeline.verdict import Verdict
from tests.pipeline.packets import ether, ipv4, ipv6

CHUNK = 256
V4, V6 = ipv4(), ipv6(ipv4())
UNSET = 255


def parts(frames: list[bytes], vlan: int) -> tuple[Packets | None, Packets | None, list[int]]:
    """What `split` makes of frames that stand 256 octets apart, and their verdicts."""
    memory = bytearray(b"\xaa" * (CHUNK * (len(frames) + 1)))
    for number, frame in enumerate(frames):
        memory[number * CHUNK : number * CHUNK + len(frame)] = frame
    at = np.arange(len(frames), dtype=np.intp) * CHUNK
    length = np.array([len(frame) for frame in frames], np.int64)
    verdicts = np.full(len(frames), UNSET, np.uint8)
    plain, tunnelled = split(FrameMemory(memory), at, length, vlan, verdicts)
    return plain, tunnelled, verdicts.tolist()


@pytest.mark.parametrize(
    ("tci", "vlan", "passes"),
    [
        (None, 0, True),
        (0, 0, True),
        (0xE000, 0, True),  # a tag that only carries a priority
        (5, 0, False),
        (None, 5, False),
        (5, 5, True),
        (0xF005, 5, True),  # priority and drop eligible
        (0, 5, False),
        (6, 5, False),
        (0xFFF, 0xFFF, True),
    ],
)
def test_tags(tci: int | None, vlan: int, *, passes: bool) -> None:
    plain, tunnelled, verdicts = parts([ether(V4, tci)], vlan)
    assert tunnelled is None
    assert verdicts == [UNSET if passes else Verdict.DROP_VLAN]
    assert (plain is not None) == passes
    if plain is not None:
        header = 14 if tci is None else 18
        assert (plain.at.tolist(), plain.room.tolist()) == ([header], [len(V4)])


def test_versions_are_sorted_out_and_others_stay_behind() -> None:
    frames = [ether(V6), ether(V4), ether(V4, ethertype=0x0806), ether(V6, 0), ether(V4) + bytes(9)]
    plain, tunnelled, verdicts = parts(frames, 0)
    assert plain is not None
    assert tunnelled is not None
    assert plain.rows.tolist() == [1, 4]
    assert plain.room.tolist() == [len(V4), len(V4) + 9]
    assert tunnelled.rows.tolist() == [0, 3]
    assert tunnelled.at.tolist() == [14, 3 * CHUNK + 18]
    assert verdicts == [UNSET, UNSET, Verdict.DROP_NOT_IP, UNSET, UNSET]


@pytest.mark.parametrize("packet", [V4, V6])
def test_a_burst_of_one_kind_is_the_same_as_a_mixed_one(packet: bytes) -> None:
    alone = [part for part in parts([ether(packet)] * 3, 0)[:2] if part is not None]
    mixed = [
        part
        for part in parts([ether(packet)] * 3 + [ether(packet, ethertype=0x88CC)], 0)[:2]
        if part is not None
    ]
    assert len(alone) == len(mixed) == 1
    for name in ("rows", "at", "room"):
        assert getattr(alone[0], name).tolist() == getattr(mixed[0], name).tolist()


@pytest.mark.parametrize("vlan", [0, 5])
@pytest.mark.parametrize("length", [0, 1, 13])
def test_frames_cut_in_their_ethernet_header_are_not_ip(length: int, vlan: int) -> None:
    plain, tunnelled, verdicts = parts([ether(V4)[:length], ether(V4)[:length]], vlan)
    assert (plain, tunnelled) == (None, None)
    assert set(verdicts) <= {Verdict.DROP_NOT_IP, Verdict.DROP_VLAN}
    if vlan == 0:
        assert verdicts == [Verdict.DROP_NOT_IP] * 2


def test_frames_cut_in_their_tag_are_not_ip() -> None:
    assert parts([ether(V4, 5)[:17]], 5)[2] == [Verdict.DROP_NOT_IP]
    assert parts([ether(b"", 5, 0x0800)], 5)[2] == [UNSET], "no packet is the next step's concern"


def test_a_second_tag_is_not_ip() -> None:
    frame = ether(ether(V4)[12:], 5, 0x8100)
    assert parts([frame], 5)[2] == [Verdict.DROP_NOT_IP]


def test_take_keeps_columns_together() -> None:
    _, tunnelled, _ = parts([ether(V6), ether(V6), ether(V6) + b"x"], 0)
    assert tunnelled is not None
    taken = tunnelled.take(np.array([2, 0], np.intp))
    assert taken.rows.tolist() == [2, 0]
    assert taken.at.tolist() == [2 * CHUNK + 14, 14]
    assert taken.room.tolist() == [len(V6) + 1, len(V6)]
