"""What the kernel takes, and that it leaves everything else as it came."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np
import pytest

from dstmrouter.pipeline.compiled import burst
from dstmrouter.pipeline.compiled.views import NO_PORT, Columns, Views
from dstmrouter.pipeline.rules import TunnelRules
from dstmrouter.pipeline.verdict import Verdict
from tests.pipeline import packets, worlds
from tests.pipeline.built import tables
from tests.pipeline.machine import CHUNK, HEADROOM
from tests.pipeline.packets import ether, ipv4, ipv6, tunnelled

if TYPE_CHECKING:
    from collections.abc import Sequence

SHARED: Final = worlds.leased(5)
NORMAL: Final = {
    "to a client": (ether(ipv4()), worlds.ACCESS, Verdict.ENCAPSULATED),
    "to a tagged client": (ether(ipv4(dst=worlds.leased(2))), worlds.TAGGED, Verdict.ENCAPSULATED),
    "to the Internet": (tunnelled(), worlds.INTERNET, Verdict.DECAPSULATED),
    "to a longer prefix": (tunnelled(dst="10.1.9.9"), worlds.SMALL, Verdict.DECAPSULATED),
    "to another client": (tunnelled(dst=worlds.leased(3)), worlds.ACCESS, Verdict.HAIRPINNED),
    "to a port set": (
        ether(ipv4(dst=SHARED, payload=packets.ports(53, 1232))),
        worlds.ACCESS,
        Verdict.ENCAPSULATED,
    ),
    "from a port set": (
        tunnelled(5, payload=packets.ports(1232, 53)),
        worlds.INTERNET,
        Verdict.DECAPSULATED,
    ),
    "from sharer to sharer": (
        tunnelled(5, dst=SHARED, payload=packets.ports(1232, 2044), protocol=6),
        worlds.ACCESS,
        Verdict.HAIRPINNED,
    ),
}
ODD: Final = {
    "no binding": ether(ipv4(dst=worlds.leased(200))),
    "its time is over": ether(ipv4(dst=worlds.leased(4))),
    "no pool": ether(ipv4(dst="192.0.2.77")),
    "martian": ether(ipv4(src="127.0.0.1")),
    "last hop": ether(ipv4(ttl=1)),
    "neighbour unknown": ether(ipv4(dst=worlds.leased(6))),
    "spoofed": ether(ipv6(ipv4(worlds.leased(3), "198.51.100.2"))),
    "to tep4": tunnelled(dst=worlds.TEP4),
    "no route": tunnelled(dst="10.4.0.1"),
    "ARP": packets.ether(b"\0\1\x08\0\6\4\0\1" + bytes(20), 0x0806),
    "port of nobody": ether(ipv4(dst=SHARED, payload=packets.ports(53, 1231))),
    "excluded port": ether(ipv4(dst=SHARED, payload=packets.ports(53, 208))),
    "port of another": tunnelled(5, payload=packets.ports(1236, 53)),
    "ping of a shared address": ether(ipv4(dst=SHARED, payload=packets.echo(), protocol=1)),
    "piece of a shared address": ether(
        ipv4(dst=SHARED, payload=packets.ports(53, 1232, b"1234"), fragment=0x2000)
    ),
    "no ports of a shared address": ether(ipv4(dst=SHARED, payload=b"123")),
    "short": ether(ipv4())[:20],
    "nothing": b"",
}


class Frames:
    """A burst in memory of its own."""

    def __init__(self, frames: Sequence[bytes], **rules: Any) -> None:
        self.memory = bytearray((len(frames) + 2) * CHUNK)
        self.at = np.arange(len(frames), dtype=np.int64) * CHUNK + HEADROOM
        self.length = np.array([len(frame) for frame in frames], np.int64)
        for start, frame in zip(self.at.tolist(), frames, strict=True):
            self.memory[start : start + len(frame)] = frame
        world = worlds.world(**rules)
        self.tables = tables(world)
        self._views = Views(
            self.memory,
            self.tables,
            TunnelRules(tep6=world.rules.tep6, tep4=worlds.TEP4, hairpin=world.rules.hairpin),
        )
        ports = self.tables.ports.read()
        assert ports is not None
        self._views.describe_ports(ports[1])
        self.columns = Columns(max(len(frames), 1))

    def forward(self) -> tuple[int, int]:
        numbers = self._views.numbers, self.columns.numbers
        now = np.uint64(worlds.NOW_S)
        left, port = burst.forward(*numbers, self.at, self.length, np.uint64(0), now)
        return int(left), int(port)


@pytest.mark.parametrize("kind", NORMAL)
@pytest.mark.parametrize("size", [1, 15, 16, 17, 100])
def test_normal_packets_are_all_taken(kind: str, size: int) -> None:
    frame, port, verdict = NORMAL[kind]
    frames = Frames([frame] * size)
    assert frames.forward() == (0, port)
    assert set(frames.columns.verdict[:size]) == {verdict}
    assert set(frames.columns.port[:size]) == {port}


@pytest.mark.parametrize("kind", ODD)
def test_other_packets_are_left_as_they_came(kind: str) -> None:
    frames = Frames([ODD[kind]] * 3)
    before = bytes(frames.memory)
    assert frames.forward()[0] == 3
    assert frames.columns.rest[:3].tolist() == [0, 1, 2]
    assert frames.columns.port[:3].tolist() == [NO_PORT] * 3
    assert bytes(frames.memory) == before


def test_what_is_about_to_be_divided_is_left() -> None:
    """The row of an address is there before the word that tells the same."""
    frames = Frames([NORMAL["to a port set"][0], NORMAL["from sharer to sharer"][0]])
    frames.tables.bindings.divided[:] = 0
    assert frames.forward()[0] == 2


def test_hairpin_is_left_where_it_is_off() -> None:
    frames = Frames([tunnelled(dst=worlds.leased(3))], hairpin=False)
    assert frames.forward()[0] == 1


def test_a_mixed_burst_is_sorted_out() -> None:
    kinds = [*NORMAL.values()] * 5
    mixed = [
        frame
        for normal, odd in zip(kinds, [*ODD.values()] * 2, strict=False)
        for frame in (normal[0], odd)
    ]
    frames = Frames(mixed)
    left, port = frames.forward()
    assert (left, port) == (len(mixed) // 2, NO_PORT)
    assert frames.columns.rest[:left].tolist() == [*range(1, len(mixed), 2)]
    wanted = [port for _, port, _ in kinds[: len(mixed) // 2]]
    assert frames.columns.port[0 : len(mixed) : 2].tolist() == wanted


def test_packets_to_nobody_end_here_where_the_steps_have_said_all() -> None:
    frames = Frames([NORMAL["to a client"][0], *ODD.values(), *ODD.values()])
    frames.columns.refuse(None)
    left, port = frames.forward()
    nobody = [[*ODD].index(kind) for kind in ("no binding", "port of nobody")]
    refused = [1 + n * len(ODD) + kind for n in range(2) for kind in nobody]
    assert (left, port) == (2 * len(ODD) - 4, worlds.ACCESS)
    assert frames.columns.refusals["count"].tolist() == [4]
    rest: list[int] = frames.columns.rest[:left].tolist()
    assert set(rest).isdisjoint({0, *refused})
    assert frames.columns.verdict[refused].tolist() == [Verdict.DROP_NO_BINDING] * 4
    assert frames.columns.port[refused].tolist() == [NO_PORT] * 4


def test_nothing_is_nothing() -> None:
    assert Frames([]).forward()[0] == 0
