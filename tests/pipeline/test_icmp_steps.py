from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest

from dstmrouter.pipeline.client_mtus import ClientMtus
from dstmrouter.pipeline.encap import Encapsulator
from dstmrouter.pipeline.fragment4 import Fragmenter4
from dstmrouter.pipeline.fragment6 import Fragmenter6
from dstmrouter.pipeline.icmp_steps import IcmpSteps
from dstmrouter.pipeline.memory import FrameMemory
from dstmrouter.pipeline.outcome import Outcome
from dstmrouter.pipeline.portsets import PortSets
from dstmrouter.pipeline.route import Router4
from dstmrouter.pipeline.rules import TunnelRules, WorkerIdentity
from dstmrouter.pipeline.surroundings import Surroundings
from dstmrouter.pipeline.verdict import Verdict
from tests.pipeline import worlds
from tests.pipeline.built import tables
from tests.pipeline.machine import SparePool

WORLD = worlds.world()
TABLES = tables(WORLD)
RELAYED = {Verdict.DROP_ICMPV6}
SPOOFED = {Verdict.DROP_SPOOF_ADDRESS, Verdict.DROP_SPOOF_CLIENT, Verdict.DROP_SPOOF_PORT}
TOLD = {
    Verdict.DROP_TTL,
    Verdict.DROP_NO_BINDING,
    Verdict.DROP_TOO_BIG,
    Verdict.DROP_TOO_BIG_V4,
    Verdict.DROP_UNREACHABLE,
    Verdict.DROP_HAIRPIN_OFF,
}


def steps(tep4: object = worlds.TEP4, **changes: Any) -> IcmpSteps:
    icmp = dataclasses.replace(worlds.ICMP, **changes)
    fields = dataclasses.asdict(WORLD.rules) | {"tep4": tep4, "icmp": icmp}
    rules, memory = TunnelRules(**fields), FrameMemory(bytearray(1 << 16))
    frames, port_sets = SparePool(0, 8), PortSets(memory, TABLES.bindings)
    fragmenter6 = Fragmenter6(memory, rules, frames, WorkerIdentity())
    cutters = fragmenter6, Fragmenter4(memory, frames)
    return IcmpSteps(
        Surroundings(
            memory=memory,
            tables=TABLES,
            rules=rules,
            frames=frames,
            encap=Encapsulator(memory, TABLES, port_sets, rules, cutters),
            route=Router4(memory, TABLES, rules, cutters[1]),
            vlans=[],
            port_sets=port_sets,
            mtus=ClientMtus(rules, TABLES),
        )
    )


@pytest.mark.parametrize(
    ("changes", "verdicts"),
    [
        ({}, RELAYED | TOLD | SPOOFED),
        ({"access_prefixes": ()}, RELAYED | TOLD),
        ({"generate_icmpv6": False}, RELAYED | TOLD),
        ({"generate_icmpv4": False}, RELAYED | SPOOFED),
        ({"host_unreachable": False}, RELAYED | SPOOFED | TOLD - {Verdict.DROP_NO_BINDING}),
        ({"prohibited": False}, RELAYED | SPOOFED | TOLD - {Verdict.DROP_HAIRPIN_OFF}),
        ({"tep4": None}, RELAYED | SPOOFED),
        ({"relay": False}, RELAYED | TOLD | SPOOFED),  # MTUs are still learned
    ],
)
def test_rules_say_which_verdicts_bring_about_something(
    changes: dict[str, Any], verdicts: set[Verdict]
) -> None:
    found = [verdict for step in steps(**changes).steps() for verdict in step.verdicts]
    assert len(found) == len(set(found))
    assert set(found) == verdicts


def test_no_step_keeps_frames_or_waits() -> None:
    for step in steps().steps():
        outcome = Outcome(np.zeros(0, np.uint8))
        step.expire(1, outcome)
        assert step.held() == 0
        assert (outcome.made, outcome.noted, outcome.late, outcome.released) == ([], [], [], [])


def test_others_may_send_errors_too() -> None:
    made = steps()
    assert made.errors4 is not None
    assert made.errors6 is not None
    assert steps(tep4=None).errors4 is None
    assert steps(generate_icmpv6=False).errors6 is None


@pytest.mark.parametrize(
    ("tep4", "changes", "some"),
    [
        (worlds.TEP4, {}, True),
        (worlds.TEP4, {"host_unreachable": False}, False),
        (worlds.TEP4, {"generate_icmpv4": False}, False),
        (None, {}, False),
    ],
)
def test_it_is_known_whether_there_are_errors_about_packets_to_nobody(
    tep4: object, changes: dict[str, Any], some: bool
) -> None:
    icmp = steps(tep4, **changes)
    icmp.steps()
    standing = icmp.unbound(0)
    assert (standing is not None) == some
    assert standing is None or (standing.exhausted, standing.host_bits) == (False, 8)
