"""IPv6 fragments of tunnel packets (R19): hypothesis against the oracle."""

from __future__ import annotations

import itertools
from collections import Counter
from typing import Any, Final

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dstmrouter.pipeline import reassembly
from tests.oracle_fragments import masked
from tests.oracle_reassembly import Reassembly
from tests.pipeline import packets, worlds
from tests.pipeline.machine import Machine
from tests.pipeline.outer_pieces import piece, pieces, run
from tests.pipeline.packets import ipv4, ipv6
from tests.pipeline.traffic import MAX_FRAME
from tests.pipeline.worlds import ReassemblySpec

pytestmark = pytest.mark.usefixtures("untraced")
ECT0, CE = 2, 3


@st.composite
def _datagrams(draw: st.DrawFn) -> list[bytes]:
    """All pieces of a datagram, and some that should not be."""
    number = draw(st.sampled_from([1, 1, 1, 3, 8]))
    inner = ipv4(
        worlds.leased(number),
        packets.FAR,
        bytes(draw(st.sampled_from([0, 44, 300, 900, 1500, 1750]))),
        tos=draw(st.integers(0, 3)),
    )
    options = draw(st.sampled_from([b"", b"", b"", packets.OPTIONS]))
    mark = draw(st.sampled_from([0, 0, ECT0, CE]))
    outer = ipv6(
        options + inner,
        worlds.CLIENTS6[number],
        next_header=60 if options else 4,
        traffic_class=mark,
    )
    mtu = draw(st.sampled_from([80, 200, 400, 1000]))
    found = pieces(outer, mtu, draw(st.integers(1, 3)))
    if draw(st.booleans()):
        start = draw(st.integers(0, 20)) * 8
        size = draw(st.sampled_from([8, 24, 7, 400, 2000]))
        more = draw(st.booleans())
        found.append(
            piece(
                bytes(size),
                start,
                more=more,
                follows=draw(st.sampled_from([4, 4, 4, 60, 17])),
                ident=draw(st.integers(1, 3)),
                traffic_class=draw(st.sampled_from([0, ECT0, CE])),
            )[:MAX_FRAME]
        )
    return found


_LIMITS: Final = st.sampled_from(
    [ReassemblySpec(), ReassemblySpec(frames=5, per_client=2, per_datagram=4, timeout_s=20)]
)


@settings(max_examples=150)
@given(limits=_LIMITS, data=st.data())
def test_bursts_of_pieces_have_the_fates_that_the_oracle_gives_them(
    limits: ReassemblySpec, data: st.DataObject
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(reassembly, "BUDGET", 1000)
        world = worlds.world(reassembly=limits)
        router, expected = Machine(world, frames=160), Reassembly(world)
        now_s = worlds.NOW_S
        for _ in range(data.draw(st.integers(1, 4))):
            frames = list(itertools.chain(*data.draw(st.lists(_datagrams(), max_size=3))))
            if data.draw(st.booleans()):
                frames = data.draw(st.permutations(frames))
            frames = [f for f in frames if data.draw(st.integers(0, 9)) or not f][:60]
            expected.joined, expected.ended = [], []
            assert run(router, frames, now_s) == expected.burst(frames, now_s)
            assert Counter(router.ended) == Counter(expected.ended)
            assert _seen(router.joined) == _seen(expected.joined)
            now_s += data.draw(st.sampled_from([0, 1, 19, 20, 60]))
            expected.ended = []
            router.expire(now_s)
            expected.expire(now_s)
            assert router.ended == expected.ended


def _seen(fates: list[Any]) -> Counter[tuple[str, bytes]]:
    return Counter((fate.verdict, masked(fate.frame or b"")) for fate in fates)
