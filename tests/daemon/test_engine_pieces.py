"""The ledger of frames with packets in pieces: taken, kept, joined, given up; and jumbo frames."""

from __future__ import annotations

from typing import Any

import pytest

from dstmrouter.counters import Counters
from dstmrouter.daemon.engine import Engine
from dstmrouter.io.memport import MemoryPort
from dstmrouter.io.umem import Umem
from dstmrouter.pipeline.compiled.forward import CompiledForwarder
from dstmrouter.pipeline.forward import Forwarder
from dstmrouter.pipeline.memory import FrameMemory
from dstmrouter.pipeline.verdict import Verdict
from tests.oracle_fragments import fragments6
from tests.pipeline import packets, worlds
from tests.pipeline.built import tables, tunnel_rules
from tests.pipeline.packets import ether, ipv4, ipv6


class Router:
    """An engine with the ports of a world, over memory."""

    def __init__(self, *, compiled: bool, chunk_size: int = 2048, **rules: Any) -> None:
        world = worlds.world(**rules)
        umem = self.umem = Umem(256, chunk_size)
        steps = Forwarder(FrameMemory(umem.memory), tables(world), tunnel_rules(world), umem.pool)
        forwarder = steps
        if compiled:
            args = umem.memory, steps._tables, steps._rules, steps
            forwarder = CompiledForwarder(*args)  # type: ignore[assignment]
        self.counters = Counters(bytearray(Counters.size(1, len(Verdict))), 1, len(Verdict))
        self.ports = [MemoryPort(umem, f"port{n}", slots=64) for n in range(4)]
        for port in self.ports:
            port.refill(umem.pool.take(16))
        self.engine = Engine(umem, self.ports, forwarder, self.counters)

    def feed(self, frames: list[bytes], port: int, now_s: int = worlds.NOW_S) -> list[bytes]:
        """What is sent of frames that come in by `port`; no frame is lost on the way."""
        self.ports[port].feed(frames)
        while self.engine.turn(now_s):
            assert self.engine.missing() == 0
        self.engine.turn(now_s)
        assert self.engine.missing() == 0
        return [frame for each in self.ports for frame in each.take_sent()]

    def counted(self, verdict: Verdict) -> int:
        return int(self.counters.totals()[0, verdict])


@pytest.mark.parametrize("compiled", [False, True])
def test_frames_are_taken_for_pieces_and_come_back(*, compiled: bool) -> None:
    router = Router(compiled=compiled)
    big = ether(ipv4(payload=bytes(1480), fragment=0))
    for _ in range(100):
        assert sorted(map(len, router.feed([big] * 3, worlds.INTERNET))) == [114] * 3 + [1510] * 3
    assert router.counted(Verdict.FRAGMENTED) == router.counted(Verdict.SENT_PIECE) == 300


@pytest.mark.parametrize("compiled", [False, True])
def test_frames_of_pieces_are_kept_joined_or_given_up(*, compiled: bool) -> None:
    router = Router(compiled=compiled)
    inner = ipv4(worlds.leased(1), packets.FAR, bytes(range(256)) * 4)
    first, *later = [ether(piece) for piece in fragments6(ipv6(inner), 400)]
    for number in range(100):
        now_s = worlds.NOW_S + 100 * number
        assert router.feed([first], worlds.ACCESS, now_s) == []
        (left,) = router.feed(later[::-1], worlds.ACCESS, now_s)
        assert left[34:] == inner[20:]
        router.feed([first, later[0]], worlds.ACCESS, now_s)
        told = router.feed([], worlds.ACCESS, now_s + 60)
        assert [frame[54:56] for frame in told] == [b"\x03\x01"]
        assert router.engine.forwarder.held() == 0
    assert router.counted(Verdict.KEPT_JOINED) == router.counted(Verdict.DECAPSULATED) == 100
    assert router.counted(Verdict.DROP_PIECE_TIMEOUT) == 200


@pytest.mark.parametrize("compiled", [False, True])
def test_jumbo_frames(*, compiled: bool) -> None:
    """Chunks of 4,096 octets, a path of 3,400: whole packets, pieces and joined ones."""
    router = Router(compiled=compiled, chunk_size=4096, path_mtu=3400)
    (whole,) = router.feed([ether(ipv4(payload=bytes(3340)))], worlds.INTERNET)
    assert len(whole) == 14 + 3400
    sent = router.feed([ether(ipv4(payload=bytes(3341), fragment=0))], worlds.INTERNET)
    assert sorted(map(len, sent)) == [14 + 48 + 9, 14 + 48 + 3352]
    inner = ipv4(worlds.leased(1), packets.FAR, bytes(1400))
    (left,) = router.feed([ether(ipv6(inner))], worlds.ACCESS)
    assert len(left) == 14 + 1420
    inner = ipv4(worlds.leased(1), packets.FAR, bytes(3300), fragment=0)
    cut = [ether(piece) for piece in fragments6(ipv6(inner), 1500)]
    out = router.feed(cut, worlds.ACCESS)
    assert sum(len(frame) - 34 for frame in out) == 3300  # three pieces for a link of 1,500
    assert len(out) == 3


@pytest.mark.parametrize("compiled", [False, True])
def test_pieces_that_come_to_two_workers_are_counted_by_both(*, compiled: bool) -> None:
    """Queues are chosen by addresses, see docs/fragments.md; this is where they are not."""
    workers = Router(compiled=compiled), Router(compiled=compiled)
    inner = ipv4(worlds.leased(1), packets.FAR, bytes(1000))
    cut = [ether(piece) for piece in fragments6(ipv6(inner), 400)]
    apart = cut[::2], cut[1::2]
    for after, verdict in ((0, Verdict.KEPT_PIECE), (60, Verdict.DROP_PIECE_TIMEOUT)):
        for router, part in zip(workers, apart, strict=True):
            sent = router.feed([] if after else part, worlds.ACCESS, worlds.NOW_S + after)
            assert router.counted(verdict) == len(part)
            assert router.counted(Verdict.KEPT_JOINED) == 0
            assert len(sent) == (after > 0 and part is apart[0]), "ICMPv6 3/1 about the first piece"
