"""What an explainer says of a packet is what the pipeline does to it."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import pytest

from dstmrouter.daemon.explainer import Explainer
from dstmrouter.errors import DstmError
from dstmrouter.pipeline.rules import TunnelRules
from dstmrouter.pipeline.verdict import Verdict
from tests.pipeline import packets, worlds
from tests.pipeline.built import tables
from tests.pipeline.machine import Machine

if TYPE_CHECKING:
    from collections.abc import Iterator

WORLD = worlds.world()
FRAMES = [
    packets.ether(packets.ipv4()),
    packets.tunnelled(1),
    packets.tunnelled(1, worlds.leased(2)),
    packets.tunnelled(2, sum_off=1),
    packets.ether(packets.ipv4(dst=worlds.leased(6))),
    packets.ether(b"", ethertype=0x0806),
    b"",
    packets.ether(packets.ipv4(payload=bytes(1470))),
]


@pytest.fixture
def explainer() -> Iterator[Explainer]:
    rules = TunnelRules(**dataclasses.asdict(WORLD.rules))
    made = Explainer(tables(WORLD), rules, [(b"", b"")] * len(WORLD.ports), 2048)
    yield made
    made.close()


@pytest.mark.parametrize("frame", FRAMES)
@pytest.mark.parametrize("port", [worlds.ACCESS, worlds.TAGGED])
def test_fate_is_that_of_the_pipeline(explainer: Explainer, frame: bytes, port: int) -> None:
    [fate] = Machine(WORLD).run([frame], port, worlds.NOW_S)
    for _ in range(3):
        [sample, *_] = explainer.explain(port, frame, worlds.NOW_S)
        assert list(Verdict)[sample.verdict].name == fate.verdict
        assert (sample.frame, sample.port, sample.made) == (frame, port, False)
        assert sample.sent == (fate.frame or b"")


def test_many_packets_through_one(explainer: Explainer) -> None:
    for _ in range(2000):
        assert explainer.explain(worlds.ACCESS, FRAMES[1], worlds.NOW_S)[0].sent


def test_frame_that_no_chunk_holds(explainer: Explainer) -> None:
    with pytest.raises(DstmError, match="frame of 1793 octets: at most 1792"):
        explainer.explain(0, bytes(1793), 0)
