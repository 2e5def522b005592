from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from dstmrouter.io.memport import MemoryPort
from dstmrouter.io.taggedport import TagPort, parted
from dstmrouter.io.umem import DESC, Umem
from tests.io.frames import ethernet

if TYPE_CHECKING:
    from collections.abc import Iterator

    from dstmrouter.io.port import Port

FRAMES = 256


def frame(mark: int, vid: int | None) -> bytes:
    return ethernet(0x0800, bytes([mark]) * 40, vid=vid)


class Line:
    """A memory port, and the tagged ports over it."""

    def __init__(self, *vlans: int | None) -> None:
        self.umem = Umem(FRAMES)
        self.wire = MemoryPort(self.umem, "eth0", slots=FRAMES)
        self.ports: list[Port] = parted([(self.wire, vlan) for vlan in vlans], self.umem.octets)
        self.ports[0].refill(self.umem.pool.take(64))

    def marks(self, number: int, limit: int = 99) -> list[int]:
        descs = self.ports[number].receive(limit)
        ends = descs["addr"].astype(int) + descs["len"].astype(int) - 1
        return [self.umem.memory[end] for end in ends]


@pytest.fixture
def line() -> Iterator[Line]:
    made = Line(100, 200, None)
    yield made
    made.umem.close()


def test_ports_of_their_own_are_left_alone() -> None:
    umem = Umem(FRAMES)
    ports = [MemoryPort(umem, name) for name in ("eth0", "eth1")]
    assert parted([(ports[0], None), (ports[1], 5)], umem.octets) == ports
    umem.close()


def test_names_tell_the_vlan(line: Line) -> None:
    assert [port.name for port in line.ports] == ["eth0.100", "eth0.200", "eth0"]
    assert all(isinstance(port, TagPort) for port in line.ports)


def test_frames_go_to_the_port_of_their_tag(line: Line) -> None:
    vids = [100, 200, None, 0, 300, 200, 100]
    line.wire.feed([frame(mark, vid) for mark, vid in enumerate(vids)])
    assert line.marks(1) == [], "only the first port receives"
    assert line.marks(0) == [0, 4, 6], "with those that have no port"
    assert line.ports[0].held().rx == 4
    assert line.marks(1, 1) == [1]
    assert line.marks(1) == [5]
    assert line.marks(2) == [2, 3]
    assert line.ports[0].held().rx == 0


def test_next_burst_waits_until_all_have_theirs(line: Line) -> None:
    line.wire.feed([frame(0, 200)])
    assert line.marks(0) == []
    line.wire.feed([frame(1, 100)])
    assert line.marks(0) == []
    assert line.marks(1) == [0]
    assert line.marks(0) == [1]


def test_frames_are_held_and_reclaimed_once(line: Line) -> None:
    assert line.ports[0].refill_room() > 0
    assert [port.refill_room() for port in line.ports[1:]] == [0, 0]
    assert line.ports[1].refill(line.umem.pool.take(1)) == 0
    descs = np.zeros(2, DESC)
    descs["addr"], descs["len"] = line.umem.pool.take(2), 60
    assert line.ports[1].transmit(descs) == 2
    assert len(line.wire.take_sent()) == 2
    held = [port.held().total for port in line.ports]
    assert held == [line.wire.held().total, 0, 0]
    assert [len(port.reclaim()) for port in reversed(line.ports)] == [0, 0, 2]


def test_interface_is_told_and_closed_by_its_ports(line: Line) -> None:
    assert [port.statistics() for port in line.ports] == [line.wire.statistics(), {}, {}]
    for port in line.ports:
        port.use_compiled()
        port.flush()
        assert port.fileno() == line.wire.fileno()
        assert isinstance(port, TagPort)
        assert (port.mode_taken, port.mode_notes) == ("packet_mmap", [])
        port.close()
