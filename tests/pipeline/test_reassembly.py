"""IPv6 fragments of tunnel packets (R19): known answers."""

from __future__ import annotations

import struct
from collections import Counter

import pytest

from dstmrouter.pipeline import reassembly
from tests.pipeline import packets, worlds
from tests.pipeline.machine import Machine
from tests.pipeline.outer_pieces import INNER, piece, pieces, run
from tests.pipeline.packets import ether, ipv4, ipv6
from tests.pipeline.worlds import ReassemblySpec

ECT0, ECT1, CE = 2, 1, 3


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
