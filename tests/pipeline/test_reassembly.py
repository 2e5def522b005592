"""IPv6 fragments of tunnel packets (R19): known answers, and hypothesis against the oracle."""

from __future__ import annotations

import itertools
import struct
from collections import Counter
from typing import Any, Final

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dstmrouter.pipeline import reassembly
from tests.oracle_fragments import fragments6, masked
from tests.oracle_reassembly import Reassembly
from tests.pipeline import packets, worlds
from tests.pipeline.machine import Machine
from tests.pipeline.packets import ether, ipv4, ipv6
from tests.pipeline.traffic import MAX_FRAME
from tests.pipeline.worlds import ReassemblySpec

INNER: Final = ipv4(worlds.leased(1), packets.FAR, bytes(range(256)) * 4)
ECT0, ECT1, CE = 2, 1, 3


def pieces(packet: bytes, mtu: int = 400, ident: int = 1) -> list[bytes]:
    """Frames with the fragments of an IPv6 packet."""
    cut = [bytearray(piece) for piece in fragments6(packet, mtu)]
    for piece in cut:
        piece[44:48] = struct.pack("!I", ident)
    return [ether(bytes(piece)) for piece in cut]


def piece(
    data: bytes,
    offset: int = 0,
    *,
    more: bool = False,
    follows: int = 4,
    ident: int = 9,
    **outer: Any,
) -> bytes:
    """A frame with one fragment."""
    header = struct.pack("!BBHI", follows, 0, offset | more, ident)
    return ether(ipv6(header + data, next_header=44, **outer))


def run(router: Machine, burst: list[bytes], now_s: int = worlds.NOW_S) -> list[str]:
    return [fate.verdict for fate in router.run(burst, worlds.ACCESS, now_s, remember=True)]


def alone(frame: bytes) -> str:
    return run(Machine(worlds.world()), [frame])[0]


def inner_after_join(router: Machine) -> bytes:
    (fate,) = router.joined
    assert fate.verdict == "DECAPSULATED"
    assert fate.frame is not None
    return fate.frame[14:]


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 1, 0), (1, 2, 0)])
def test_r19_any_order_in_one_burst_or_in_several(order: tuple[int, ...]) -> None:
    router = Machine(worlds.world())
    frames = pieces(ipv6(INNER))
    burst = [frames[n] for n in order]
    assert run(router, burst) == ["KEPT_PIECE", "KEPT_PIECE", "KEPT_JOINED"]
    assert inner_after_join(router)[20:] == INNER[20:]
    for frame in burst[:2]:
        assert run(router, [frame]) == ["KEPT_PIECE"]
        assert not router.joined
    assert run(router, burst[2:]) == ["KEPT_JOINED"]
    assert inner_after_join(router)[20:] == INNER[20:]


def test_r19_datagrams_of_several_clients_mixed_with_whole_packets() -> None:
    router = Machine(worlds.world())
    others = pieces(ipv6(ipv4(worlds.leased(3), packets.FAR, bytes(900)), worlds.CLIENTS6[3]))
    mixed = [f for pair in zip(pieces(ipv6(INNER)), others, strict=True) for f in pair]
    found = run(router, [packets.tunnelled(), *mixed, packets.tunnelled()])
    assert Counter(found) == {"DECAPSULATED": 2, "KEPT_PIECE": 4, "KEPT_JOINED": 2}
    assert [fate.verdict for fate in router.joined] == ["DECAPSULATED"] * 2


def test_r19_an_atomic_fragment_is_nobody_elses() -> None:
    """RFC 6946 section 4: it does not disturb a datagram of the same identification."""
    router = Machine(worlds.world())
    first, *others = pieces(ipv6(INNER))
    run(router, [first])
    assert run(router, [piece(INNER, ident=1)]) == ["KEPT_JOINED"]
    assert inner_after_join(router)[20:] == INNER[20:]
    assert run(router, others) == ["KEPT_PIECE", "KEPT_JOINED"]


def test_r19_overlaps_discard_the_datagram_and_what_is_still_to_come() -> None:
    router = Machine(worlds.world())
    first, second, third = pieces(ipv6(INNER))
    assert run(router, [first, second]) == ["KEPT_PIECE"] * 2
    assert run(router, [piece(bytes(16), 8, more=True, ident=1)]) == ["DROP_PIECE_OVERLAP"]
    assert router.ended == ["DROP_PIECE_OVERLAP"] * 2
    assert run(router, [third]) == ["DROP_PIECE_OVERLAP"]
    router.expire(worlds.NOW_S + 60)
    assert run(router, [first, second, third])[-1] == "KEPT_JOINED"


def test_r19_an_exact_duplicate_is_dropped_alone() -> None:
    router = Machine(worlds.world())
    first, second, third = pieces(ipv6(INNER))
    burst = [first, first, second, third]
    names = ["KEPT_PIECE", "DROP_PIECE_DUPLICATE", "KEPT_PIECE", "KEPT_JOINED"]
    assert run(router, burst) == names
    other = second[:-1] + b"\xff"
    assert run(router, [first, second, other])[-1] == "DROP_PIECE_OVERLAP"


def test_r19_single_pieces_that_are_wrong() -> None:
    assert alone(piece(b"", more=True)) == "DROP_PIECE_MALFORMED"
    assert alone(ether(ipv6(bytes(7), next_header=44))) == "DROP_PIECE_MALFORMED"
    assert alone(piece(bytes(60), 80, more=True)) == "DROP_PIECE_LENGTH"
    assert alone(piece(bytes(16), 65528)) == "DROP_PIECE_END"
    assert alone(piece(bytes(16), 2040)) == "DROP_PIECE_LARGE"
    assert alone(piece(INNER[:16], more=True)) == "DROP_PIECE_CHAIN"
    assert alone(piece(bytes.fromhex("0404010400000000"), more=True, follows=60)) == (
        "DROP_PIECE_CHAIN"
    )
    assert alone(piece(bytes(24), more=True, follows=17)) == "DROP_NOT_TUNNEL"


def test_r19_only_the_first_piece_says_what_follows() -> None:
    router = Machine(worlds.world())
    late = piece(INNER[800:], 800, follows=99)
    assert run(router, [piece(INNER[:800], more=True), late])[-1] == "KEPT_JOINED"
    assert inner_after_join(router)[20:] == INNER[20:]


def test_r19_options_behind_and_before_the_fragment_header() -> None:
    router = Machine(worlds.world())
    whole = packets.OPTIONS + INNER
    first = piece(whole[:800], more=True, follows=60)
    assert run(router, [first, piece(whole[800:], 800, follows=60)])[-1] == "KEPT_JOINED"
    assert inner_after_join(router)[20:] == INNER[20:]
    options = bytes.fromhex("2c00010400000000")
    header = struct.pack("!BBHI", 4, 0, 1, 9)
    first = ether(ipv6(options + header + INNER[:800], next_header=0))
    assert run(router, [first, piece(INNER[800:], 800)])[-1] == "KEPT_JOINED"
    assert inner_after_join(router)[20:] == INNER[20:]


def test_r19_strangers_get_no_memory() -> None:
    stranger = worlds.CLIENTS6[8]
    assert alone(piece(INNER, more=True, src=stranger)) == "DROP_OUTER_FRAGMENT"


@pytest.mark.parametrize(
    ("marks", "leaves"),
    [
        ((0, 0, 0), 0),
        ((ECT0, ECT0, CE), CE),
        ((CE, ECT1, ECT0), CE),
        ((ECT1, ECT0, ECT0), ECT1),
        ((CE, CE, CE), CE),
        ((CE, ECT0, 0), None),
        ((0, 0, CE), None),
    ],
)
@pytest.mark.parametrize("bursts", [1, 3])
def test_r19_ecn_of_the_result(marks: tuple[int, ...], leaves: int | None, bursts: int) -> None:
    """RFC 3168 section 5.3, before RFC 6040 at the exit."""
    router = Machine(worlds.world())
    inner = ipv4(worlds.leased(1), packets.FAR, bytes(1000), tos=ECT0)
    frames = [
        frame[:15] + bytes([frame[15] & 0xCF | mark << 4]) + frame[16:]
        for frame, mark in zip(pieces(ipv6(inner)), marks, strict=True)
    ]
    found: list[str] = []
    for burst in [frames] if bursts == 1 else [[frame] for frame in frames]:
        found += run(router, burst)
    if leaves is None:
        assert found[-1] == "DROP_PIECE_ECN"
        assert not router.joined
        return
    (fate,) = router.joined
    assert fate.frame is not None
    assert fate.frame[15] & 3 == {0: ECT0, ECT1: ECT1, ECT0: ECT0, CE: CE}[leaves]


def test_r19_time_is_over_sixty_seconds_after_the_first_piece() -> None:
    router = Machine(worlds.world())
    first, second, third = pieces(ipv6(INNER))
    run(router, [second], 1000)
    run(router, [first], 1030)
    router.expire(1059)
    assert router.ended == []
    router.expire(1060)
    assert router.ended == ["DROP_PIECE_TIMEOUT"] * 2
    assert run(router, [third], 1060) == ["KEPT_PIECE"]


def test_r19_limits_evict_the_oldest() -> None:
    limits = ReassemblySpec(frames=6, per_client=2, per_datagram=3)
    router = Machine(worlds.world(reassembly=limits))
    start = [piece(INNER[:800], more=True, ident=n) for n in range(3)]
    assert run(router, start) == ["KEPT_PIECE"] * 3
    assert router.ended == ["DROP_PIECE_EVICTED"]
    many = [piece(bytes(8), 8 * n, more=True, ident=2) for n in range(101, 104)]
    assert run(router, many) == ["KEPT_PIECE", "KEPT_PIECE", "DROP_PIECE_LIMIT"]
    assert router.ended == ["DROP_PIECE_LIMIT"] * 3
    others = [
        piece(bytes(8), 8 * n, more=True, ident=m, src=worlds.CLIENTS6[3])
        for m in (1, 2)
        for n in (1, 2, 3)
    ]
    assert run(router, others) == ["KEPT_PIECE"] * 6
    assert router.ended == ["DROP_PIECE_EVICTED"]


def test_r19_a_flood_is_looked_at_within_a_budget() -> None:
    router = Machine(worlds.world())
    junk = [piece(bytes(8), 80, ident=n) for n in range(500)]
    good = packets.tunnelled()
    found = Counter(run(router, [*junk, good]))
    assert found == {
        "KEPT_PIECE": reassembly.BUDGET,
        "DROP_PIECE_BUDGET": 500 - reassembly.BUDGET,
        "DECAPSULATED": 1,
    }


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
