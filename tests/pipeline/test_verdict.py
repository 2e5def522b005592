from __future__ import annotations

import dataclasses
from functools import cache
from typing import Final

import numpy as np
import pytest

from dstmrouter.counters import Counters
from dstmrouter.daemon.engine import Engine
from dstmrouter.io.memport import MemoryPort
from dstmrouter.io.umem import Umem
from dstmrouter.pipeline.forward import Forwarder
from dstmrouter.pipeline.memory import FrameMemory
from dstmrouter.pipeline.rules import TunnelRules
from dstmrouter.pipeline.verdict import Verdict
from tests import oracle_icmp
from tests.oracle_fragments import masked
from tests.pipeline import packets, worlds
from tests.pipeline.built import tables
from tests.pipeline.examples import EXAMPLES, SENT
from tests.pipeline.machine import Machine


@cache
def machine(*, hairpin: bool) -> Machine:
    return Machine(worlds.world(hairpin=hairpin))


IN_COMPANY: Final = ("KEPT_", "DROP_PIECE_", "SENT_PIECE", "UNSENT_")
"""Of fragments: tests/pipeline/test_reassembly.py; of errors that are not sent: test_limits.py."""


def test_every_verdict_has_an_example() -> None:
    by_ports = {Verdict.DROP_TX_FULL, Verdict.DROP_FILTER_IN, Verdict.DROP_FILTER_OUT}
    others = by_ports | {Verdict.DROP_ICMPV6_FLOOD}
    others |= {Verdict.DROP_FRAGMENT_SHARED, Verdict.DROP_FRAGMENT_FLOOD}  # see test_shared_pieces
    others |= {Verdict.DROP_NO_FRAME, Verdict.DROP_CUT_BUDGET}
    company = {verdict for verdict in Verdict if verdict.name.startswith(IN_COMPANY)}
    assert set(EXAMPLES) | set(SENT) | others | company == set(Verdict)


@pytest.mark.parametrize("verdict", EXAMPLES, ids=lambda verdict: verdict.name)
def test_every_verdict_is_reached(verdict: Verdict) -> None:
    example = EXAMPLES[verdict]
    router = machine(hairpin=example.hairpin)
    (fate,) = router.run([example.frame], example.port, worlds.NOW_S)
    assert fate.verdict == verdict.name
    expected, sent = oracle_icmp.fate(router.world, example.frame, example.port, worlds.NOW_S)
    seen = dataclasses.replace(fate, frame=None if fate.frame is None else masked(fate.frame))
    assert seen == dataclasses.replace(expected, more=())
    assert [made for made in router.made if made.verdict != "SENT_PIECE"] == sent


@pytest.mark.parametrize("verdict", SENT, ids=lambda verdict: verdict.name)
def test_every_packet_of_our_own_is_sent(verdict: Verdict) -> None:
    example = SENT[verdict]
    router = machine(hairpin=example.hairpin)
    router.run([example.frame], example.port, worlds.NOW_S)
    assert [sent.verdict for sent in router.made] == [verdict.name]


def test_all_examples_in_one_burst() -> None:
    router = machine(hairpin=True)
    frames = [example.frame for example in EXAMPLES.values() if example.hairpin]
    names = [verdict.name for verdict, example in EXAMPLES.items() if example.hairpin]
    fates = router.run(frames, worlds.ACCESS, worlds.NOW_S)
    assert [fate.verdict for fate in fates] == names
    assert [fate.frame is not None for fate in fates] == [Verdict[name].forwarded for name in names]


def test_packets_that_a_port_cannot_take_are_counted_as_such() -> None:
    umem = Umem(64)
    world = worlds.world()
    ports = [MemoryPort(umem, f"port{n}", slots=2 if n == 0 else 16) for n in range(4)]
    rules = TunnelRules(tep6=world.rules.tep6, tep4=world.rules.tep4)
    counters = Counters(bytearray(Counters.size(1, len(Verdict))), 1, len(Verdict))
    forwarder = Forwarder(FrameMemory(umem.memory), tables(world), rules, umem.pool)
    engine = Engine(umem, ports, forwarder, counters)
    for port in ports:
        frames = umem.pool.take(16)
        umem.pool.give(frames[port.refill(frames) :])
    ports[worlds.INTERNET].feed([packets.ether(packets.ipv4())] * 5)
    engine.turn(worlds.NOW_S)
    assert len(ports[worlds.ACCESS].take_sent()) == 2
    found = counters.totals()[0]
    assert found[Verdict.ENCAPSULATED] == 2
    assert found[Verdict.DROP_TX_FULL] == 3
    assert engine.missing() == 0


def test_numbers_are_dense_and_names_say_who_is_dropped() -> None:
    assert [verdict.value for verdict in Verdict] == list(range(len(Verdict)))
    forwarded = [verdict.name for verdict in Verdict if verdict.forwarded]
    assert forwarded == [
        "ENCAPSULATED",
        "FRAGMENTED",
        "DECAPSULATED",
        "DECAPSULATED_ECN_ODD",
        "HAIRPINNED",
        "ECHO_ANSWERED",
        "SENT_PIECE",
        *[verdict.name for verdict in SENT],
        "SENT_PIECE_TIMEOUT",
        "SENT_PIECE_PROBLEM",
    ]


def test_every_verdict_has_its_own_words() -> None:
    texts = {verdict.help for verdict in Verdict}
    assert len(texts) == len(Verdict)
    assert all(texts)


def test_a_verdict_fits_the_verdict_column() -> None:
    assert np.array(list(Verdict), np.uint8).tolist() == list(range(len(Verdict)))
