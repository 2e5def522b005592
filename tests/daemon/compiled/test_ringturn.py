"""The compiled turn against the engine's own: the same frames leave, the same is counted."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dstmrouter.daemon.compiled.ringturn import RingTurn, ring_turn
from dstmrouter.daemon.engine import Engine
from dstmrouter.io.memport import MemoryPort
from dstmrouter.pipeline.compiled.forward import CompiledForwarder
from dstmrouter.pipeline.rules import IcmpRules
from dstmrouter.pipeline.verdict import Verdict
from tests.daemon.compiled.ringrouter import PORTS, SLOTS, VLAN, Router
from tests.pipeline import packets, traffic, worlds
from tests.pipeline.examples import EXAMPLES

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from dstmrouter.io.port import Port
    from dstmrouter.pipeline.memory import Index
    from dstmrouter.pipeline.outcome import Made, Outcome

BURST: Final = 48  # packets
ENCAPSULATED: Final = EXAMPLES[Verdict.ENCAPSULATED].frame
DECAPSULATED: Final = EXAMPLES[Verdict.DECAPSULATED].frame
TAGGED: Final = packets.ether(packets.ipv4(), VLAN)
HAIRPINNED: Final = EXAMPLES[Verdict.HAIRPINNED].frame
TTL: Final = EXAMPLES[Verdict.DROP_TTL].frame


Step = tuple[str, int, list[bytes]]


@st.composite
def steps(draw: st.DrawFn, ports: int = PORTS) -> list[Step]:
    """Packets that arrive, the kernel's work, and turns, in any order."""
    both = [ENCAPSULATED, TAGGED]
    usual = st.sampled_from([*both * 3, *[DECAPSULATED] * 6, HAIRPINNED])
    runs = st.tuples(usual, st.integers(1, 40)).map(lambda run: [run[0]] * run[1])
    mixed = st.lists(st.one_of(usual, usual, traffic.frames()), max_size=12)
    numbers = st.integers(0, ports - 1)
    arrival = st.tuples(st.just("arrive"), numbers, st.one_of(runs, mixed))
    sending = st.tuples(st.sampled_from(["send", "complete"]), numbers, st.just([b""]))
    turn = st.tuples(st.just("turn"), numbers, st.just([b""]))
    return draw(st.lists(st.one_of(arrival, arrival, turn, sending), min_size=4, max_size=24))


def follow(router: Router, todo: list[Step], *, roomy: bool) -> None:
    """Do all steps; with `roomy`, the kernel sends everything before every turn."""
    router.turn()
    for what, number, frames in todo:
        port = router.ports[number]
        if what == "arrive":
            port.arrive(frames)
        elif what == "send":
            port.send(17)
        elif what == "complete":
            port.complete()
        else:
            if roomy:
                router.serve()
            router.turn()
    for now_s in (worlds.NOW_S, worlds.NOW_S, worlds.NOW_S + 100):
        router.serve()
        router.turn(now_s)
    router.serve()


@pytest.mark.untraced
@settings(max_examples=60)
@given(todo=steps(), start=st.sampled_from([0, 50, (1 << 32) - 5]))
def test_the_same_as_an_engine_with_the_compiled_pass(todo: list[Step], start: int) -> None:
    expected, found = Router("compiled", start=start), Router("handover", start=start)
    for router in (expected, found):
        follow(router, todo, roomy=False)
    assert found.seen() == expected.seen()


def assert_alike(found: Router, expected: Router) -> None:
    """But for the order of packets."""
    assert found.counters.values.tolist() == expected.counters.values.tolist()
    for ours, theirs in zip(found.ports, expected.ports, strict=True):
        assert sorted(ours.sent) == sorted(theirs.sent)
        assert ours.held() == theirs.held()


@pytest.mark.untraced
@settings(max_examples=30)
@given(todo=steps())
def test_the_same_as_an_engine_on_numpy(todo: list[Step]) -> None:
    """Which has another order; so no ring may be full, where that decides what is lost."""
    expected, found = Router("numpy"), Router("handover")
    for router in (expected, found):
        follow(router, todo, roomy=True)
    assert_alike(found, expected)


@pytest.mark.untraced
@settings(max_examples=30)
@given(todo=steps(ports=1))
def test_ports_that_share_an_interface(todo: list[Step]) -> None:
    """The engine sends by ports, and here several of them have one ring."""
    expected = Router("numpy", one_armed=True)
    found = Router("handover", one_armed=True)
    for router in (expected, found):
        follow(router, todo, roomy=True)
    assert_alike(found, expected)


def test_a_full_ring_gives_frames_back_and_counts_them() -> None:
    router = Router("handover")
    router.turn()
    for _ in range(3):
        router.ports[worlds.INTERNET].arrive([ENCAPSULATED] * BURST)
        assert router.turn() == BURST
    assert router.count(Verdict.ENCAPSULATED) == SLOTS
    assert router.count(Verdict.DROP_TX_FULL) == 3 * BURST - SLOTS
    router.serve()
    router.turn()
    assert len(router.ports[worlds.ACCESS].sent) == SLOTS


def test_numpy_steps_are_given_what_is_left_and_nothing_else(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    router = Router("handover")
    handover = router.engine.handover
    assert handover is not None
    seen: list[int] = []
    process = handover.steps.process

    def watched(at: Index, length: npt.NDArray[np.int64], port: int, now_s: int) -> Outcome:
        seen.append(len(at))
        return process(at, length, port, now_s)

    monkeypatch.setattr(handover.steps, "process", watched)
    router.turn()
    router.ports[worlds.INTERNET].arrive([ENCAPSULATED] * 5)
    router.turn()
    assert seen == []
    router.ports[worlds.INTERNET].arrive([ENCAPSULATED, TTL, ENCAPSULATED, TTL])
    router.turn()
    assert seen == [2]
    assert router.count(Verdict.ENCAPSULATED) == 7
    assert router.count(Verdict.DROP_TTL) == 2


def busy(kind: str, bursts: int) -> Router:
    """A router that has got bursts of 200 packets, of which the pass leaves two."""
    router = Router(kind, slots=256)
    router.turn()
    for _ in range(bursts):
        router.ports[worlds.INTERNET].arrive([*[ENCAPSULATED] * 99, TTL] * 2)
        assert router.turn() == 200
        router.serve()
    return router


def test_under_load_what_is_left_waits_for_others() -> None:
    router = busy("handover", 5)
    assert router.count(Verdict.ENCAPSULATED) == 990
    assert router.count(Verdict.DROP_TTL) == 0
    assert router.turn() == 0  # a quiet turn
    assert router.count(Verdict.DROP_TTL) == 10
    router.serve()
    expected = busy("numpy", 5)
    expected.turn()
    expected.serve()
    assert router.counters.values.tolist() == expected.counters.values.tolist()
    for ours, theirs in zip(router.ports, expected.ports, strict=True):
        assert sorted(ours.sent) == sorted(theirs.sent)


def test_what_waits_is_done_before_somebody_watches() -> None:
    router = busy("handover", 1)
    tap = Watching()
    router.engine.tap = tap  # type: ignore[assignment]
    router.ports[worlds.INTERNET].arrive([ENCAPSULATED] * 200)
    assert router.turn() == 200
    assert router.count(Verdict.DROP_TTL) == 2
    assert tap.seen == [200]


class Watching:
    """A tap that somebody listens to."""

    def __init__(self) -> None:
        self.seen: list[int] = []

    def wanted(self) -> bool:
        return True

    def before(self, at: Index, *_: object) -> int:
        return len(at)

    def after(self, watched: int, _: Outcome) -> None:
        self.seen.append(watched)

    def made(self, made: Made, now_s: float) -> None:
        """Nobody asks for errors of our own."""


def test_who_watches_sees_every_packet() -> None:
    router = Router("handover")
    tap = Watching()
    router.engine.tap = tap  # type: ignore[assignment]
    router.turn()
    router.ports[worlds.INTERNET].arrive([ENCAPSULATED] * 5)
    router.turn()
    assert tap.seen == [5]
    assert router.count(Verdict.ENCAPSULATED) == 5


def test_a_tag_that_changes_is_followed() -> None:
    router = Router("handover")
    router.turn()
    router.tables.ports.set(worlds.INTERNET, mac=bytes(6), mtu=1500, vlan=VLAN)
    router.ports[worlds.INTERNET].arrive([ENCAPSULATED])
    router.turn()
    assert router.count(Verdict.DROP_VLAN) == 1


def test_ports_without_rings_have_no_compiled_turn() -> None:
    router = Router("compiled")
    assert isinstance(router.engine.forwarder, CompiledForwarder)
    assert isinstance(ring_turn(router.engine, router.engine.forwarder), RingTurn)
    ports: list[Port] = [*router.ports[1:], MemoryPort(router.umem, "memory")]
    mixed = Engine(router.umem, ports, router.engine.forwarder, router.counters)
    assert ring_turn(mixed, router.engine.forwarder) is None


@pytest.mark.parametrize(
    ("icmp", "told"),
    [
        (IcmpRules(), 10),  # to one prefix
        (IcmpRules(icmpv4_rate=120, prefix_burst=200), 12),  # of that kind in all
        (IcmpRules(host_unreachable=False), 0),
    ],
)
def test_packets_to_nobody_end_in_the_turn_when_their_errors_are_sent(
    icmp: IcmpRules, told: int
) -> None:
    unbound = EXAMPLES[Verdict.DROP_NO_BINDING].frame
    found = []
    for kind in ("numpy", "compiled", "handover"):
        router = Router(kind, icmp=icmp)
        for _ in range(3):
            router.turn()
            router.ports[worlds.INTERNET].arrive([*[unbound] * 30, ENCAPSULATED])
            router.turn()
            router.serve()
        found.append(router.counters.values.tolist())
        assert router.count(Verdict.DROP_NO_BINDING) == 90
        assert router.count(Verdict.ENCAPSULATED) == 3
        assert router.count(Verdict.SENT_HOST_UNREACHABLE) == told
        assert router.count(Verdict.UNSENT_ICMPV4) == (90 - told if told else 0)
    assert found[0] == found[1] == found[2]
