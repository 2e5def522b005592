"""A port that sends as XDP frames: what leaves, in which order, by which way, and the ledger."""

from __future__ import annotations

import os
import socket
from contextlib import ExitStack
from typing import TYPE_CHECKING

import numpy as np
import pytest

from dstmrouter.errors import SystemCallError
from dstmrouter.io.afxdp import XskConfig, XskMode, open_sockets
from dstmrouter.io.liveframes import LIVE_FRAME_MAX
from dstmrouter.io.umem import DESC
from dstmrouter.io.xdpframes import FrameSender, PacketArray
from dstmrouter.io.xdpport import ENOUGH, XdpFramePort
from tests.io.conftest import Veth, collect, drain, ip, wait_for

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = [
    pytest.mark.netns,
    pytest.mark.skipif(os.geteuid() != 0, reason="AF_XDP needs root"),
]
FRAMES = 512
CONFIG = XskConfig(
    mode=XskMode.NATIVE_COPY, fill_slots=64, rx_slots=64, tx_slots=128, completion_slots=128
)
HEADER = bytes(12) + b"\x88\xb5"


class Bench:
    """Port a, whose far end takes XDP frames and listens."""

    def __init__(self, pair: Veth, undo: ExitStack, chunk_size: int = 2048) -> None:
        self.pair = pair
        pair.take_frames()
        packets = PacketArray(FRAMES, chunk_size)
        undo.callback(packets.close)
        self.umem = packets.umem
        self.sender = undo.enter_context(
            FrameSender(packets, 1, CONFIG.tx_slots, 2 * CONFIG.completion_slots)
        )
        (sock,) = open_sockets([pair.near], 0, self.umem, [CONFIG])
        undo.callback(sock.close)
        self.port = XdpFramePort(sock, self.sender, 0)
        undo.callback(self.port.close)
        self.tap = undo.enter_context(pair.tap())
        self.number = 0

    def transmit(self, count: int, length: int = 60) -> list[bytes]:
        """Hand over packets with increasing numbers."""
        descs = np.zeros(count, DESC)
        descs["addr"], descs["len"] = self.umem.pool.take(count) + np.uint64(300), length
        sent = []
        for start in descs["addr"].tolist():
            frame = (HEADER + self.number.to_bytes(4, "big")).ljust(length, b"x")
            self.umem.octets[start : start + length] = np.frombuffer(frame, np.uint8)
            sent.append(frame)
            self.number += 1
        assert self.port.transmit(descs) == count
        self.check_ledger()
        return sent

    def check_ledger(self) -> None:
        assert len(self.umem.pool) + self.port.held().total == FRAMES

    def reclaim(self) -> None:
        """Take back everything that has been sent; the kernel may still be at it."""

        def all_back() -> bool:
            self.port.flush()
            self.check_ledger()
            self.umem.pool.give(self.port.reclaim())
            return len(self.umem.pool) == FRAMES

        wait_for(all_back, "all frames")

    def as_frames(self) -> int:
        return self.port.statistics()["xdp_frames_sent"]


@pytest.fixture(autouse=True)
def _nothing_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dstmrouter.io.xdpport.SPACING_S", 0)


@pytest.fixture
def bench(pairs: list[Veth]) -> Iterator[Bench]:
    with ExitStack() as undo:
        yield Bench(pairs[0], undo)


def test_few_go_through_the_socket_and_many_as_frames_in_order(bench: Bench) -> None:
    sent = []
    for count in (1, ENOUGH, ENOUGH - 1, 100, 128, 2):
        sent += bench.transmit(count)
        bench.port.flush()
        bench.check_ledger()
        assert collect(bench.tap, count) == sent[-count:]
        bench.reclaim()
    assert bench.as_frames() == ENOUGH + 100 + 128
    assert bench.port.statistics()["xdp_frames_errors"] == 0


def test_packets_that_keep_coming_wait_for_others(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dstmrouter.io.xdpport.SPACING_S", 1000)
    monkeypatch.setattr("dstmrouter.io.xdpport.LOTS", 100)
    sent = bench.transmit(ENOUGH)
    bench.port.flush()
    assert collect(bench.tap, ENOUGH) == sent
    sent = []
    for count in (3, ENOUGH):
        sent += bench.transmit(count)
        bench.port.flush()
        assert drain(bench.tap) == []
        bench.check_ledger()
    bench.port.flush()  # no more have come
    assert collect(bench.tap, ENOUGH + 3) == sent
    assert bench.as_frames() == 2 * ENOUGH + 3
    sent = bench.transmit(100)
    bench.port.flush()
    assert collect(bench.tap, 100) == sent
    bench.reclaim()


def test_frames_sent_come_back_with_the_next_reclaim(bench: Bench) -> None:
    bench.transmit(100)
    assert bench.port.held().tx == 100
    bench.port.flush()
    assert (bench.port.held().tx, bench.port.held().completion) == (0, 100)
    back = bench.port.reclaim()
    assert len(back) == 100
    bench.umem.pool.give(back)
    assert sorted(bench.umem.pool.take(FRAMES).tolist()) == [2048 * i for i in range(FRAMES)]


def test_a_device_that_takes_no_frames_any_more_gets_them_by_socket(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dstmrouter.io.xdpport.LOOK_S", 0)
    for state, as_frames in (("off", 0), ("on", 100), ("off", 100)):
        bench.pair.take_frames(state)
        sent = bench.transmit(100)
        bench.port.flush()
        assert collect(bench.tap, 100) == sent
        assert bench.as_frames() == as_frames
        bench.reclaim()


def test_nothing_overtakes_what_the_socket_has_not_sent(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as held_up:
        held_up.setattr(bench.port._sock, "flush", lambda: None)  # the kernel gets to nothing
        first = bench.transmit(3)
        bench.port.flush()
        second = bench.transmit(80)
        bench.port.flush()
        assert drain(bench.tap) == []
    bench.port.flush()
    assert collect(bench.tap, 83) == first + second
    assert bench.as_frames() == 0


def test_a_call_that_fails_is_counted_and_loses_nothing(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise SystemCallError("send", 12, "no memory")

    with monkeypatch.context() as broken:
        broken.setattr(bench.sender, "send", refuse)
        sent = bench.transmit(80)
        bench.port.flush()
        assert drain(bench.tap) == []
        assert bench.port.held().tx == 80
    bench.port.flush()  # by socket, until it is time to look again
    assert collect(bench.tap, 80) == sent
    assert bench.port.statistics()["xdp_frames_errors"] == 1
    assert bench.as_frames() == 0
    bench.reclaim()


def test_a_call_that_a_signal_ends_goes_on_with_the_rest(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    send = bench.sender.send

    def interrupted(number: int, ifindex: int, count: int) -> None:
        send(number, ifindex, count // 2)
        raise SystemCallError("send", 4, "interrupted")

    with monkeypatch.context() as signalled:
        signalled.setattr(bench.sender, "send", interrupted)
        sent = bench.transmit(128)
        bench.port.flush()
        assert collect(bench.tap, 64) == sent[:64]
        bench.check_ledger()
        assert bench.port.held().tx == 64
    bench.port.flush()
    assert collect(bench.tap, 64) == sent[64:]
    assert bench.as_frames() == 128
    assert bench.port.statistics()["xdp_frames_errors"] == 0


def test_packets_that_fit_no_frame_go_by_socket(pairs: list[Veth]) -> None:
    for end in (pairs[0].near, pairs[0].far):
        ip(f"link set dev {end} mtu {LIVE_FRAME_MAX}")
    with ExitStack() as undo:
        bench = Bench(pairs[0], undo, chunk_size=4096)
        sent = bench.transmit(70) + bench.transmit(1, LIVE_FRAME_MAX + 1)
        bench.port.flush()
        assert collect(bench.tap, 71) == sent
        assert bench.as_frames() == 0
        bench.reclaim()
        sent = bench.transmit(64, LIVE_FRAME_MAX)
        bench.port.flush()
        assert collect(bench.tap, 64) == sent
        assert bench.as_frames() == 64


def test_more_than_the_ring_takes_stays_with_the_caller(bench: Bench) -> None:
    bench.transmit(128)
    assert bench.port.transmit(np.zeros(5, DESC)) == 0


def test_it_answers_for_its_socket(bench: Bench) -> None:
    assert bench.port.name == bench.pair.near
    assert bench.port.mode_taken is XskMode.NATIVE_COPY
    assert bench.port.sends == "xdp-frames"
    assert bench.port.fileno() == bench.port._sock.fileno()
    assert bench.port.statistics()["rx_dropped"] == 0
    assert bench.port.refill(bench.umem.pool.take(10)) == 10
    bench.check_ledger()
    bench.port.use_compiled()
    bench.port.close()
    bench.port.close()


def test_an_interface_that_is_gone_is_an_error(bench: Bench) -> None:
    ip(f"link del {bench.pair.near}")
    with pytest.raises(SystemCallError, match="find interface an"):
        XdpFramePort(bench.port._sock, bench.sender, 0)
    assert "an" not in {name for _, name in socket.if_nameindex()}
