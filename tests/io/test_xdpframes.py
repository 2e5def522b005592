from __future__ import annotations

import os
from contextlib import ExitStack
from typing import TYPE_CHECKING

import numpy as np
import pytest

from dstmrouter.config.router import FRAMES_OCTETS_MAX
from dstmrouter.errors import ConfigError
from dstmrouter.io.liveframes import LIVE_FRAME_MAX
from dstmrouter.io.umem import DESC
from dstmrouter.io.xdpframes import MEMORY_MAX, FrameSender, PacketArray
from tests.io.conftest import Veth, collect, drain, frames_read, ip

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

pytestmark = [
    pytest.mark.netns,
    pytest.mark.skipif(os.geteuid() != 0, reason="BPF programs need root"),
]
SLOTS, DONE = 64, 128
LENGTHS = [14, 60, 127, 128, 129, 255, 256, 257, 1000, 1514]


class Bench:
    """A sender with a ring for each pair, whose far ends take frames and listen."""

    def __init__(self, pairs: Sequence[Veth], undo: ExitStack, chunk_size: int = 2048) -> None:
        packets = PacketArray(256, chunk_size)
        undo.callback(packets.close)
        self.octets = packets.umem.octets.reshape(256, -1)
        self.sender = undo.enter_context(FrameSender(packets, len(pairs), SLOTS, DONE))
        self.starts: list[int] = []  # of all packets, in order
        self.ifindexes = [pair.ifindex for pair in pairs]
        self.tx, self.done, self.taps = [], [], []
        for number, pair in enumerate(pairs):
            pair.take_frames()
            tx, done = self.sender.tx(number), self.sender.done(number)
            self.tx.append(tx)
            self.done.append(done[1])
            for ring in (*tx, *done):
                undo.callback(ring.close)
            self.taps.append(undo.enter_context(pair.tap()))

    def put(self, number: int, first: int, lengths: Sequence[int]) -> list[bytes]:
        """Write packets into chunks from `first` on, and put them on a ring."""
        rng = np.random.default_rng(first)
        sent = []
        for row, length in enumerate(lengths, first):
            at = 200 + row % 100  # any octet
            self.octets[row, at : at + length] = rng.integers(0, 256, length)
            # The far end's kernel is not to look into them.
            self.octets[row, at + 12 : at + 14] = 0x88, 0xB5
            sent.append(self.octets[row, at : at + length].tobytes())
            start = row * self.octets.shape[1] + at
            assert self.tx[number][0].submit(np.array([(start, length, 0)], DESC)) == 1
            self.starts.append(start)
        return sent

    def send(self, number: int, count: int) -> None:
        self.sender.send(number, self.ifindexes[number], count)


@pytest.fixture
def bench(pairs: list[Veth]) -> Iterator[Bench]:
    with ExitStack() as undo:
        yield Bench(pairs, undo)


def test_packets_leave_as_they_lie_in_memory(bench: Bench) -> None:
    sent = bench.put(0, 0, LENGTHS)
    bench.send(0, len(sent))
    assert collect(bench.taps[0], len(sent)) == sent
    assert len(bench.tx[0][1]) == 0
    again = bench.put(0, 20, LENGTHS[::-1])  # in pages that other lengths have left
    bench.send(0, len(again))
    assert collect(bench.taps[0], len(again)) == again
    assert drain(bench.taps[1]) == []
    assert bench.sender.refused(0) == 0


def test_rings_wrap_and_addresses_come_back(bench: Bench) -> None:
    for turn in range(5):
        sent = bench.put(0, 40 * turn, [60 + turn] * 40)
        bench.send(0, 40)
        assert collect(bench.taps[0], 40) == sent
        assert bench.done[0].take(DONE).tolist() == bench.starts[40 * turn :]


def test_a_ring_for_each_device(bench: Bench) -> None:
    to_b = bench.put(1, 0, [60] * 3)
    to_a = bench.put(0, 10, [70] * 5)
    bench.send(1, 3)
    assert collect(bench.taps[1], 3) == to_b
    assert drain(bench.taps[0]) == []
    bench.send(0, 5)
    assert collect(bench.taps[0], 5) == to_a


def test_part_of_what_waits(bench: Bench) -> None:
    sent = bench.put(0, 0, [60] * 9)
    bench.send(0, 4)
    assert collect(bench.taps[0], 4) == sent[:4]
    assert len(bench.tx[0][1]) == 5
    bench.send(0, 50)  # more than there is: the rest of the frames is dropped
    assert collect(bench.taps[0], 5) == sent[4:]
    assert len(bench.tx[0][1]) == 0
    assert drain(bench.taps[0]) == []


def test_what_fits_no_frame_is_counted_and_takes_nothing_with_it(pairs: list[Veth]) -> None:
    for end in (pairs[1].near, pairs[1].far):
        ip(f"link set dev {end} mtu {LIVE_FRAME_MAX}")
    with ExitStack() as undo:
        bench = Bench(pairs, undo, chunk_size=4096)
        assert not bench.sender.fits_all
        sent = bench.put(1, 0, [60, LIVE_FRAME_MAX, LIVE_FRAME_MAX + 1, 13, 61])
        bench.tx[1][0].submit(np.array([(256 * 4096 + 1, 60, 0), (1 << 40, 60, 0)], DESC))
        bench.send(1, 7)
        assert collect(bench.taps[1], 3) == [sent[0], sent[1], sent[4]]
        assert drain(bench.taps[1]) == []
        assert (bench.sender.refused(0), bench.sender.refused(1)) == (0, 4)
        back = bench.done[1].take(DONE).tolist()
        assert back == [*bench.starts, 256 * 4096 + 1, 1 << 40]
        assert len(bench.done[0]) == 0


def test_frames_of_the_usual_size_always_fit(bench: Bench) -> None:
    assert bench.sender.fits_all


def test_memory_has_a_limit() -> None:
    with pytest.raises(ConfigError, match=f"expected at most {MEMORY_MAX} to send as XDP frames"):
        PacketArray(MEMORY_MAX // 4096 + 1, 4096)
    assert MEMORY_MAX == FRAMES_OCTETS_MAX


def test_to_keep_a_pool_takes_a_frame_of_its_own_and_no_packet(bench: Bench) -> None:
    sent = bench.put(0, 0, [60] * 3)
    bench.sender.keep_pool()
    assert frames_read(bench.sender.device) == 1
    assert len(bench.tx[0][1]) == 3
    assert len(bench.done[0]) == 0
    assert [drain(tap) for tap in bench.taps] == [[], []]
    for change in ("set down dev", "del dev"):
        ip(f"link {change} {bench.sender.device}")
        bench.sender.keep_pool()  # in vain
    bench.send(0, 3)
    assert collect(bench.taps[0], 3) == sent


@pytest.mark.usefixtures("netns")
def test_close_twice() -> None:
    packets = PacketArray(4, 2048)
    sender = FrameSender(packets, 1, SLOTS, DONE)
    assert sender.device == "dstm-send0"
    for owner in (sender, packets, sender, packets):
        owner.close()
