from __future__ import annotations

from functools import cache
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests import oracle
from tests.pipeline import packets, worlds
from tests.pipeline.machine import Machine
from tests.pipeline.packets import ether, ipv4, ipv6


@cache
def machine() -> Machine:
    return Machine(worlds.world())


def asked(message: bytes, **fields: int | bytes) -> oracle.Fate:
    """What becomes of an ICMP message to tep4."""
    wanted: dict[str, Any] = {"protocol": 1} | fields
    inner = ipv4(worlds.leased(1), worlds.TEP4, message, **wanted)
    return machine().run([ether(ipv6(inner))], worlds.ACCESS, worlds.NOW_S)[0]


def answer(message: bytes, **fields: int) -> bytes:
    frame = asked(message, **fields).frame
    assert frame is not None
    return frame[54:]


@given(st.binary(max_size=80), st.integers(0, 0xFFFF))
def test_an_answer_is_the_request_turned_round(data: bytes, ident: int) -> None:
    message = packets.echo(ident=ident, data=data)
    found = answer(message, ident=ident, fragment=0)
    wanted = packets.echo(0, ident=ident, data=data)
    assert (
        found[:20]
        == ipv4(worlds.TEP4, worlds.leased(1), message, protocol=1, ident=ident, fragment=0)[:20]
    )
    assert found[20:22] + found[24:] == wanted[:2] + wanted[4:]
    assert oracle.checksum(found[20:]) == 0


def test_an_answer_of_nothing_but_zeros_has_a_checksum_that_is_accepted() -> None:
    message = b"\x08\x00\xf7\xff" + bytes(12)
    assert oracle.checksum(message) == 0
    assert answer(message)[20:] == b"\x00\x00\xff\xff" + bytes(12)


def test_damage_is_not_repaired() -> None:
    message = packets.echo()
    damaged = message[:-1] + bytes([message[-1] ^ 1])
    assert oracle.checksum(answer(damaged)[20:]) != 0


@pytest.mark.parametrize("ttl", [0, 1, 2, 64, 255])
def test_what_has_arrived_needs_no_ttl_and_the_answer_has_a_fresh_one(ttl: int) -> None:
    assert answer(packets.echo(), ttl=ttl)[8] == 64


@pytest.mark.parametrize(
    ("message", "fields"),
    [
        (packets.echo(0), {}),
        (packets.echo(code=1), {}),
        (packets.echo(3), {}),
        (packets.echo()[:7], {}),
        (b"", {}),
        (packets.echo(), {"protocol": 17}),
        (packets.echo(), {"fragment": 0x2000}),
        (packets.echo(), {"fragment": 1}),
        (packets.echo(), {"options": bytes(4)}),
    ],
)
def test_all_else_to_tep4_is_dropped(message: bytes, fields: dict[str, int | bytes]) -> None:
    assert asked(message, **fields) == oracle.Fate("DROP_LOCAL")


def test_the_shortest_request_is_answered() -> None:
    assert len(answer(packets.echo(data=b""))) == 28


def test_answers_go_to_those_who_asked_only() -> None:
    inner = ipv4(worlds.leased(3), worlds.TEP4, packets.echo(), protocol=1)
    burst = [
        ether(ipv6(inner, worlds.CLIENTS6[3])),
        ether(ipv6(inner, worlds.CLIENTS6[1])),
        ether(ipv6(packets.ipv4(worlds.leased(3), "8.8.8.8"), worlds.CLIENTS6[3])),
    ]
    fates = machine().run(burst, worlds.ACCESS, worlds.NOW_S)
    found = [fate.verdict for fate in fates]
    assert found == ["ECHO_ANSWERED", "DROP_SPOOF_CLIENT", "DECAPSULATED"]
    assert fates[0].frame is not None
    assert fates[0].frame[38:54] == worlds.CLIENTS6[3].packed
