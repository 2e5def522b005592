"""A port that sends as XDP frames: what leaves, in which order, by which way, and the ledger."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
from contextlib import ExitStack
from types import SimpleNamespace
from typing import TYPE_CHECKING

import numpy as np
import pytest

from dstmrouter.daemon.idling import TURNS_MIN
from dstmrouter.errors import SystemCallError
from dstmrouter.io.afxdp import XskMode
from dstmrouter.io.compiled.xdpframes import SENDING
from dstmrouter.io.liveframes import LIVE_FRAME_MAX
from dstmrouter.io.umem import DESC
from dstmrouter.io.xdpport import Pacing, XdpFramePort
from tests.io.conftest import Veth, collect, drain, frames_read, ip
from tests.io.framebench import AT_ONCE, ENOUGH, FRAMES, Bench, Opener

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = [
    pytest.mark.netns,
    pytest.mark.skipif(os.geteuid() != 0, reason="AF_XDP needs root"),
]


@pytest.fixture(params=[False, True], ids=["python", "compiled"])
def opener(request: pytest.FixtureRequest, pairs: list[Veth]) -> Iterator[Opener]:
    with ExitStack() as undo:
        yield Opener(pairs[0], undo, compiled=request.param)


@pytest.fixture
def bench(opener: Opener) -> Bench:
    return opener.open()


@pytest.fixture
def plain(pairs: list[Veth]) -> Iterator[Bench]:
    """One that is not compiled."""
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


def test_packets_that_keep_coming_wait_for_others(opener: Opener) -> None:
    bench = opener.open(Pacing(spacing_s=1000, lots=100))
    sent = bench.transmit(ENOUGH)
    bench.port.flush()
    assert collect(bench.tap, ENOUGH) == sent
    sent = []
    for count in (3, ENOUGH):
        sent += bench.transmit(count)
        bench.port.flush()
        assert drain(bench.tap) == []
        bench.check_ledger()
    for _ in range(AT_ONCE.patience - 1):  # no more have come
        bench.port.flush()
        assert drain(bench.tap) == []
    bench.port.flush()
    assert collect(bench.tap, ENOUGH + 3) == sent
    assert bench.as_frames() == 2 * ENOUGH + 3
    sent = bench.transmit(100)
    bench.port.flush()
    assert collect(bench.tap, 100) == sent
    bench.reclaim()


def test_no_packet_waits_when_the_worker_goes_to_sleep() -> None:
    assert AT_ONCE.patience <= TURNS_MIN


def test_the_time_that_packets_wait_counts_from_the_begin_of_a_call(
    pairs: list[Veth], monkeypatch: pytest.MonkeyPatch
) -> None:
    now_s = [1000]
    clock = SimpleNamespace(monotonic_ns=lambda: now_s[0] * 1_000_000_000)
    monkeypatch.setattr("dstmrouter.io.xdpport.time", clock)
    with ExitStack() as undo:
        bench = Bench(pairs[0], undo, Pacing(spacing_s=1))
        send = bench.sender.send

        def take_a_second(number: int, ifindex: int, count: int) -> None:
            send(number, ifindex, count)
            now_s[0] += 1

        monkeypatch.setattr(bench.sender, "send", take_a_second)
        for _ in range(2):
            sent = bench.transmit(ENOUGH)
            bench.port.flush()
            assert collect(bench.tap, ENOUGH) == sent
        bench.reclaim()


def test_a_page_pool_is_kept_every_few_calls(opener: Opener) -> None:
    bench = opener.open(Pacing(spacing_s=0, keep_every=3))
    for kept in (0, 0, 1, 1, 1, 2, 2):
        sent = bench.transmit(ENOUGH)
        bench.port.flush()
        assert collect(bench.tap, ENOUGH) == sent
        bench.reclaim()  # it flushes, too
        assert frames_read(bench.sender.device) == kept


def test_a_page_pool_that_cannot_be_kept_is_no_matter(
    opener: Opener, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails() -> None:
        raise SystemCallError("send", 12, "no memory")

    bench = opener.open(Pacing(spacing_s=0, keep_every=1))
    monkeypatch.setattr(bench.sender, "keep_pool", fails)
    for _ in range(2):
        sent = bench.transmit(ENOUGH)
        bench.port.flush()
        assert collect(bench.tap, ENOUGH) == sent
    assert bench.port.statistics()["xdp_frames_errors"] == 0
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


def test_a_device_that_takes_no_frames_any_more_gets_them_by_socket(opener: Opener) -> None:
    bench = opener.open(Pacing(spacing_s=0, look_s=0))
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


@contextlib.contextmanager
def refused(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Have calls to send frames fail."""

    def fails(*_: object) -> None:
        raise SystemCallError("send", 12, "no memory")

    compiled = bench.port._compiled
    record = np.zeros(1, SENDING) if compiled is None else compiled._record
    attributes = record["attributes"].copy()
    with monkeypatch.context() as broken:
        broken.setattr(bench.sender, "send", fails)
        record["attributes"] = 8  # no address of ours
        yield
        record["attributes"] = attributes


def test_a_call_that_fails_is_counted_and_loses_nothing(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench.transmit(80)
    bench.port.flush()
    drain(bench.tap)
    bench.reclaim()
    with refused(bench, monkeypatch):
        sent = bench.transmit(80)
        bench.port.flush()
        assert drain(bench.tap) == []
        assert bench.port.held().tx == 80
    bench.port.flush()  # by socket, until it is time to look again
    assert collect(bench.tap, 80) == sent
    assert bench.port.statistics()["xdp_frames_errors"] == 1
    assert bench.as_frames() == 80
    bench.reclaim()


def test_a_call_that_a_signal_ends_goes_on_with_the_rest(
    plain: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    send = plain.sender.send

    def interrupted(number: int, ifindex: int, count: int) -> None:
        send(number, ifindex, count // 2)
        raise SystemCallError("send", 4, "interrupted")

    with monkeypatch.context() as signalled:
        signalled.setattr(plain.sender, "send", interrupted)
        sent = plain.transmit(128)
        plain.port.flush()
        assert collect(plain.tap, 64) == sent[:64]
        plain.check_ledger()
        assert plain.port.held().tx == 64
    plain.port.flush()
    assert collect(plain.tap, 64) == sent[64:]
    assert plain.as_frames() == 128
    assert plain.port.statistics()["xdp_frames_errors"] == 0


def test_signals_lose_nothing(bench: Bench) -> None:
    before = signal.signal(signal.SIGALRM, lambda *_: None)
    signal.setitimer(signal.ITIMER_REAL, 50e-6, 50e-6)
    try:
        for _ in range(100):
            sent = bench.transmit(128)
            while bench.port.held().tx:
                bench.port.flush()
            bench.reclaim()
            assert collect(bench.tap, 128) == sent
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    assert bench.port.statistics()["xdp_frames_errors"] == 0
    assert bench.as_frames() == 12_800


def test_packets_that_fit_no_frame_go_by_socket(pairs: list[Veth]) -> None:
    for end in (pairs[0].near, pairs[0].far):
        ip(f"link set dev {end} mtu {LIVE_FRAME_MAX}")
    with ExitStack() as undo:
        bench = Bench(pairs[0], undo, chunk_size=4096)
        bench.port.use_compiled()  # leaves it as it is
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
