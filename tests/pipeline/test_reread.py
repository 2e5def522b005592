from __future__ import annotations

import numpy as np

from dstmrouter.pipeline.memory import FrameMemory
from dstmrouter.pipeline.outer import OuterReader
from dstmrouter.pipeline.rare import Arrivals
from dstmrouter.pipeline.reread import Rereader
from tests.pipeline import packets, worlds
from tests.pipeline.packets import ether, ipv4, ipv6

STEP = 2048


def arrived(*frames: bytes, port: int = 0) -> tuple[Rereader, Arrivals]:
    buffer = bytearray((len(frames) + 2) * STEP)
    for number, frame in enumerate(frames):
        buffer[number * STEP : number * STEP + len(frame)] = frame
    memory = FrameMemory(buffer)
    reread = Rereader(memory, OuterReader(memory, [worlds.TEP6]), [0, 77])
    rows = np.arange(len(frames)) + 100
    length = np.array([len(frame) for frame in frames])
    return reread, Arrivals(rows, np.arange(len(frames)) * STEP, length, port)


def test_positions_are_those_among_the_arrivals() -> None:
    plain, tunnelled = ether(ipv4()), ether(ipv6(ipv4(worlds.leased(1))))
    reread, arrivals = arrived(tunnelled, plain, tunnelled, ether(ipv4(), tci=0))
    found4, found6 = reread.split(arrivals)
    assert found4 is not None
    assert found6 is not None
    assert (found4.rows.tolist(), found6.rows.tolist()) == ([1, 3], [0, 2])
    assert found4.at.tolist() == [STEP + 14, 3 * STEP + 18]


def test_the_tag_is_that_of_the_port() -> None:
    reread, arrivals = arrived(ether(ipv4(), tci=77), port=1)
    found4, found6 = reread.split(arrivals)
    assert found4 is not None
    assert (found4.rows.tolist(), found6) == ([0], None)


def test_inner_packets_are_found_behind_options_with_their_ports() -> None:
    inner = ipv4(worlds.leased(1), payload=packets.ports(1, 2), options=b"\1" * 4)
    reread, arrivals = arrived(ether(ipv6(packets.OPTIONS + inner, next_header=60)))
    _, tunnelled = reread.split(arrivals)
    assert tunnelled is not None
    found = reread.inner(reread.outer(tunnelled).inner_at)
    assert found.at.tolist() == [14 + 48]
    assert found.total_len.tolist() == [len(inner)]
    assert found.dst.tolist() == [int(packets.CLIENT4)]
    assert found.header["ports"].tobytes() == packets.ports(1, 2)[:4]


def test_a_part_of_arrivals_is_of_these_frames() -> None:
    _, arrivals = arrived(*[ether(ipv4())] * 5)
    part = arrivals.take(slice(2))
    assert part.rows.tolist() == [100, 101]
    assert len(part.at) == len(part.length) == 2
