"""The facts behind verdicts: read from the packet and the tables, up to the step that decided."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import pytest

from dstmrouter.daemon.explainer import Explainer
from dstmrouter.daemon.facts import DECIDED_AT, STEPS, FactReader
from dstmrouter.daemon.tapboard import Sample
from dstmrouter.pipeline.rules import TunnelRules
from dstmrouter.pipeline.verdict import Verdict
from tests.pipeline import packets, worlds
from tests.pipeline.built import tables

if TYPE_CHECKING:
    from collections.abc import Iterator

NAMES = ["access", "internet", "small", "tagged"]


class Teller:
    """An explainer and a reader over the tables of a world."""

    def __init__(self) -> None:
        world = worlds.world()
        rules, made = TunnelRules(**dataclasses.asdict(world.rules)), tables(world)
        self.explainer = Explainer(made, rules, [(b"", b"")] * len(world.ports), 2048)
        self.reader = FactReader(made, rules, NAMES, lambda slot: f"server of {slot & 255}")

    def tell(self, frame: bytes, port: int = worlds.ACCESS) -> tuple[str, dict[str, str]]:
        """The verdict, and the facts by step."""
        [sample, *_] = self.explainer.explain(port, frame, worlds.NOW_S)
        facts = self.reader.about(sample, worlds.NOW_S)
        assert [fact.step for fact in facts] == sorted(
            (fact.step for fact in facts), key=STEPS.index
        )
        return list(Verdict)[sample.verdict].name, {fact.step: fact.text for fact in facts}


@pytest.fixture
def teller() -> Iterator[Teller]:
    made = Teller()
    yield made
    made.explainer.close()


def test_into_a_tunnel(teller: Teller) -> None:
    verdict, facts = teller.tell(packets.ether(packets.ipv4(dst=worlds.leased(2))))
    assert verdict == "ENCAPSULATED"
    assert list(facts) == ["link", "packet", "destination", "next hop"]
    assert facts["link"].startswith("in by access, 02:00:00:00:00:ff -> ")
    assert facts["destination"] == (
        f"203.0.113.2 is bound to {worlds.CLIENTS6[2]} by {worlds.TEP6_B}, for 1 s, "
        "says server of 2"
    )
    assert facts["next hop"].startswith("02:00:00:00:00:d1 by tagged, MTU 1500; ")
    assert "at most 1500 octets" in facts["next hop"]


def test_out_of_a_tunnel(teller: Teller) -> None:
    verdict, facts = teller.tell(packets.tunnelled(1, "10.1.0.9"))
    assert verdict == "DECAPSULATED"
    assert list(facts) == list(STEPS)
    assert facts["outer"].endswith("IPv4; to our tep6")
    assert facts["source"] == (
        f"203.0.113.1 is bound to {worlds.CLIENTS6[1]} by {worlds.TEP6}, for ever, "
        "says server of 1; the packet comes from it"
    )
    assert facts["destination"] == "10.1.0.9 is in no pool"
    assert facts["next hop"] == "02:00:00:00:00:c1 by small, MTU 600"


def test_from_client_to_client(teller: Teller) -> None:
    verdict, facts = teller.tell(packets.tunnelled(1, worlds.leased(3)))
    assert verdict == "HAIRPINNED"
    assert facts["destination"].startswith(f"203.0.113.3 is bound to {worlds.CLIENTS6[3]}")
    assert facts["next hop"].startswith("02:00:00:00:00:a1 by access")


def test_into_the_tunnel_of_a_port_set(teller: Teller) -> None:
    ports = (4711).to_bytes(2) + (1232).to_bytes(2)  # PSID 0x34
    shared = packets.ipv4(dst=worlds.leased(5), payload=ports + b"payload")
    verdict, facts = teller.tell(packets.ether(shared))
    assert verdict == "ENCAPSULATED"
    assert facts["destination"] == (
        "203.0.113.5 has port sets (offset 6, length 8); this one is bound to "
        f"{worlds.CLIENTS6[5]} by {worlds.TEP6}, for ever"
    )


SPOOFED = packets.ether(packets.ipv6(packets.ipv4(worlds.leased(1)), worlds.CLIENTS6[2]))
UNLEASED = packets.ether(packets.ipv6(packets.ipv4(worlds.leased(99)), worlds.CLIENTS6[2]))


@pytest.mark.parametrize(
    ("frame", "verdict", "told"),
    [
        (packets.ether(packets.ipv4(), tci=5), "DROP_VLAN", "802.1Q tag 5"),
        (packets.ether(b"", ethertype=0x0806), "DROP_NOT_IP", "ARP"),
        (
            packets.ether(packets.ipv6(packets.ipv4(), dst=worlds.CLIENTS6[9])),
            "DROP_NOT_TEP6",
            "to none of our tep6",
        ),
        (packets.ether(packets.ipv6(b"", longer=1)), "DROP_V6_MALFORMED", "payload 1 of 0"),
        (packets.ether(packets.ipv4(sum_off=1)), "DROP_V4_CHECKSUM", "checksum wrong"),
        (SPOOFED, "DROP_SPOOF_CLIENT", f"the packet comes from {worlds.CLIENTS6[2]}"),
        (UNLEASED, "DROP_SPOOF_ADDRESS", "203.0.113.99 is in a pool, and nobody's"),
        (packets.ether(packets.ipv4(dst="10.9.9.9")), "DROP_NOT_POOL", "is in no pool"),
        (packets.ether(packets.ipv4(dst=worlds.leased(4))), "DROP_NO_BINDING", "for 0 s"),
        (packets.ether(packets.ipv4(dst=worlds.leased(5))), "DROP_NO_BINDING", "port is in none"),
        (
            packets.ether(packets.ipv4(dst=worlds.leased(5), protocol=47)),
            "DROP_NO_PORT",
            "nothing in the packet says whose",
        ),
        (packets.tunnelled(5), "DROP_SPOOF_PORT", "port is in none that is somebody's"),
        (packets.ether(packets.ipv4(dst=worlds.TEP4)), "DROP_LOCAL", "is our tep4"),
        (packets.tunnelled(1, "10.2.0.1"), "DROP_NEIGHBOUR", "MAC address is not known yet"),
        (packets.tunnelled(1, "10.3.0.1"), "DROP_NEIGHBOUR", "the kernel is asked"),
        (packets.tunnelled(1, "10.4.0.1"), "DROP_UNREACHABLE", "no route, a discard route"),
    ],
)
def test_last_fact_is_the_reason(teller: Teller, frame: bytes, verdict: str, told: str) -> None:
    said, facts = teller.tell(frame)
    assert said == verdict
    assert told in list(facts.values())[-1]


@pytest.mark.parametrize("size", [0, 13, 20, 40])
def test_short_frames(teller: Teller, size: int) -> None:
    for frame in (packets.ether(packets.ipv4()), packets.tunnelled(1)):
        verdict, facts = teller.tell(frame[:size])
        assert verdict.startswith("DROP_")
        assert facts


def test_port_with_a_tag(teller: Teller) -> None:
    _, facts = teller.tell(packets.ether(packets.ipv4(), tci=77), worlds.TAGGED)
    assert facts["link"].startswith("in by tagged (VLAN 77), ")


def test_packet_of_our_own(teller: Teller) -> None:
    sample = Sample(0, 1, packets.ether(packets.ipv4()), Verdict.ECHO_ANSWERED, made=True)
    [fact] = teller.reader.about(sample, 0)
    assert fact.text.startswith("our own, out by internet, ")


def test_steps_of_verdicts_exist() -> None:
    assert set(DECIDED_AT.values()) <= set(STEPS)
