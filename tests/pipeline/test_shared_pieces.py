"""R20: fragments to and from shared addresses, in any order, over bursts and seconds."""

from __future__ import annotations

import dataclasses
import struct
from functools import cache
from typing import TYPE_CHECKING, Any, Final

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dstmrouter.pipeline import shared_pieces as pieces
from dstmrouter.pipeline.verdict import Verdict
from tests.pipeline import packets, worlds
from tests.pipeline.machine import Machine
from tests.pipeline.packets import FAR, echo, ether, ipv4, ipv6, ports

if TYPE_CHECKING:
    from ipaddress import IPv4Address, IPv6Address

    from tests import oracle

SHARED = worlds.leased(5)
CLIENT, OTHER = worlds.CLIENTS6[5], worlds.CLIENTS6[2]
NOW_S: Final = worlds.NOW_S


@dataclasses.dataclass(frozen=True)
class Datagram:
    """One that comes in pieces of `size` octets, as the frames of them say."""

    src: IPv4Address = FAR
    dst: IPv4Address = SHARED
    payload: bytes = ports(53, 1232) + bytes(60)
    ident: int = 7
    protocol: int = 17
    client6: IPv6Address | None = None
    size: int = 24

    @property
    def port(self) -> int:
        return worlds.INTERNET if self.client6 is None else worlds.ACCESS

    def piece(self, number: int, **fields: Any) -> bytes:
        at = number * self.size
        end = at + self.size
        more = 0x2000 if end < len(self.payload) else 0
        packet = ipv4(
            self.src,
            self.dst,
            self.payload[at:end],
            ident=self.ident,
            protocol=self.protocol,
            **{"fragment": more | at // 8} | fields,
        )
        return ether(packet if self.client6 is None else ipv6(packet, self.client6))

    def pieces(self) -> list[bytes]:
        return [self.piece(n) for n in range(-(-len(self.payload) // self.size))]


IN: Final = Datagram()
OUT: Final = Datagram(SHARED, FAR, ports(1232, 53) + bytes(60), client6=CLIENT)


@cache
def shared_machine() -> Machine:
    return Machine(worlds.world(), frames=pieces.WAITING + 256)


@pytest.fixture
def machine() -> Machine:
    router = shared_machine()
    router.pass_time(NOW_S + 10_000)
    return router


def run(router: Machine, frames: list[bytes], port: int, now_s: int = NOW_S) -> list[str]:
    return [fate.verdict for fate in router.run(frames, port, now_s, remember=True)]


def received(fates: list[oracle.Fate]) -> bytes:
    """What the receiver of all pieces puts together."""
    parts = {}
    for fate in fates:
        if fate.frame is None:
            continue
        header = fate.frame[54:] if fate.frame[12:14] == b"\x86\xdd" else fate.frame[14:]
        (field,) = struct.unpack_from("!H", header, 6)
        parts[(field & 0x1FFF) * 8] = header[20:]
    return b"".join(parts[at] for at in sorted(parts))


@pytest.mark.parametrize(("sent", "verdict"), [(IN, "ENCAPSULATED"), (OUT, "DECAPSULATED")])
def test_pieces_go_where_the_first_one_goes(machine: Machine, sent: Datagram, verdict: str) -> None:
    fates = machine.run(sent.pieces(), sent.port, NOW_S, remember=True)
    assert {fate.verdict for fate in fates} == {verdict}
    assert received(fates) == sent.payload
    assert run(machine, [dataclasses.replace(sent, ident=8).piece(1)], sent.port) == [
        "KEPT_FRAGMENT"
    ]


@pytest.mark.parametrize("sent", [IN, OUT])
@pytest.mark.parametrize("engine_burst", [1, 3])
def test_pieces_that_come_before_the_first_wait_for_it(
    machine: Machine, sent: Datagram, engine_burst: int
) -> None:
    first, *later = sent.pieces()
    for at in range(0, len(later), engine_burst):
        verdicts = run(machine, later[at : at + engine_burst], sent.port)
        assert set(verdicts) == {"KEPT_FRAGMENT"}
    fates = machine.run([first], sent.port, NOW_S + 1, remember=True)
    assert received([*fates, *machine.late]) == sent.payload
    assert machine.pass_time(NOW_S + 5).released == []


def test_pieces_that_wait_in_vain_are_given_up_after_two_seconds(machine: Machine) -> None:
    assert run(machine, IN.pieces()[1:], IN.port) == ["KEPT_FRAGMENT"] * 2
    assert machine.pass_time(NOW_S + 1).released == []
    outcome = machine.pass_time(NOW_S + 2)
    assert [len(released) for released in outcome.released] == [2]
    [noted] = outcome.noted
    assert (noted.verdict, noted.packets) == (Verdict.DROP_FRAGMENT_SHARED, 2)
    assert noted.octets == sum(len(frame) for frame in IN.pieces()[1:])
    assert run(machine, IN.pieces()[:1], IN.port) == ["ENCAPSULATED"]
    assert machine.late == []


@pytest.mark.parametrize(
    ("sent", "verdict"),
    [
        (dataclasses.replace(IN, payload=ports(53, 1244) + bytes(60)), "DROP_NO_BINDING"),
        (dataclasses.replace(OUT, payload=ports(1236, 53) + bytes(60)), "DROP_SPOOF_PORT"),
        (dataclasses.replace(OUT, client6=OTHER), "DROP_SPOOF_PORT"),
    ],
)
def test_nothing_is_remembered_of_what_is_nobodys(
    machine: Machine, sent: Datagram, verdict: str
) -> None:
    first, second, _ = sent.pieces()
    assert run(machine, [first, second], sent.port) == [verdict, "KEPT_FRAGMENT"]
    assert run(machine, [first], sent.port) == [verdict]
    assert machine.late == []


def test_sharers_do_not_meddle_in_each_others_datagrams(machine: Machine) -> None:
    """The same identification: each has its own datagram, and no piece goes for the other."""
    other = dataclasses.replace(OUT, client6=OTHER, payload=ports(1236, 53) + bytes(60))
    assert run(machine, [OUT.piece(0), other.piece(1)], OUT.port) == [
        "DECAPSULATED",
        "KEPT_FRAGMENT",
    ]
    assert run(machine, [other.piece(0), OUT.piece(1)], OUT.port) == ["DECAPSULATED"] * 2
    assert [fate.verdict for fate in machine.late] == ["DECAPSULATED"]


def test_pings_in_pieces_have_their_identifier(machine: Machine) -> None:
    reply = Datagram(payload=echo(0, ident=1232, data=bytes(60)), protocol=1)
    ask = dataclasses.replace(OUT, payload=echo(8, ident=1232, data=bytes(60)), protocol=1)
    for sent in (reply, ask):
        fates = machine.run(sent.pieces(), sent.port, NOW_S, remember=True)
        assert received(fates) == sent.payload
    for kind, data in ((3, bytes(60)), (13, bytes(60))):
        sent = Datagram(payload=echo(kind, ident=1232, data=data), protocol=1, ident=kind)
        assert run(machine, sent.pieces()[:1], sent.port) == ["DROP_NO_PORT"]


def test_r16_pieces_from_sharer_to_sharer(machine: Machine) -> None:
    sent = dataclasses.replace(OUT, dst=SHARED, payload=ports(1232, 2044) + bytes(60))
    frames = sent.pieces()
    assert run(machine, frames[1:], sent.port) == ["KEPT_FRAGMENT"] * 2
    fates = machine.run(frames[:1], sent.port, NOW_S, remember=True)
    assert {fate.verdict for fate in (*fates, *machine.late)} == {"HAIRPINNED"}
    assert received([*fates, *machine.late]) == sent.payload
    from_full = Datagram(
        worlds.leased(1), SHARED, ports(9, 1232) + bytes(60), client6=worlds.CLIENTS6[1]
    )
    fates = machine.run(from_full.pieces(), from_full.port, NOW_S, remember=True)
    assert received(fates) == from_full.payload


def test_whole_addresses_need_no_first_piece(machine: Machine) -> None:
    sent = dataclasses.replace(IN, dst=worlds.leased(1))
    assert run(machine, sent.pieces()[1:], sent.port) == ["ENCAPSULATED"] * 2


def test_rfc1858_overlaps_and_what_hides_ports_or_flags(machine: Machine) -> None:
    odd = "DROP_FRAGMENT_ODD"
    assert run(machine, IN.pieces()[:2], IN.port) == ["ENCAPSULATED"] * 2
    assert run(machine, [IN.piece(1)], IN.port) == [odd], "twice"
    assert run(machine, [IN.piece(0)], IN.port) == [odd], "twice"
    assert run(machine, [IN.piece(2)], IN.port) == ["ENCAPSULATED"]
    assert run(machine, [IN.piece(1, fragment=0x2000 | 4)], IN.port) == [odd], "overlap"
    assert run(machine, [IN.piece(1, fragment=0x2000 | 90)], IN.port) == [odd], "ended by that"
    tcp = dataclasses.replace(IN, protocol=6, ident=8)
    assert run(machine, [tcp.piece(0), tcp.piece(1, fragment=0x2001)], IN.port) == [
        "ENCAPSULATED",
        odd,
    ]
    tiny = ether(ipv4(dst=SHARED, payload=b"\x00\x35\x04", ident=9, fragment=0x2000))
    assert run(machine, [tiny], IN.port) == [odd]
    for payload, fragment in ((bytes(8), 0x1FFF), (bytes(7), 0x2003), (b"", 5)):
        packet = ipv4(dst=SHARED, payload=payload, fragment=fragment, ident=10)
        assert run(machine, [ether(packet)], IN.port) == [odd]


def test_unknown_transports_do_not_wait(machine: Machine) -> None:
    sent = dataclasses.replace(IN, protocol=47)
    assert run(machine, sent.pieces(), sent.port) == ["DROP_NO_PORT"] * 3


def test_other_rules_hold_for_pieces(machine: Machine) -> None:
    assert run(machine, [IN.piece(0, ttl=1)], IN.port) == ["DROP_TTL"]
    assert run(machine, [IN.piece(0, sum_off=1)], IN.port) == ["DROP_V4_CHECKSUM"]
    assert run(machine, [OUT.piece(0, ttl=1)], OUT.port) == ["DROP_TTL"]
    assert run(machine, [OUT.piece(1)], OUT.port) == ["KEPT_FRAGMENT"], "nothing was begun"


def test_pieces_behind_options_and_tags(machine: Machine) -> None:
    first, second = (
        ether(ipv4(dst=SHARED, payload=part, options=b"\x01" * 8, fragment=fragment), tci=0)
        for part, fragment in ((ports(53, 1232, b"") + bytes(20), 0x2000), (bytes(9), 3))
    )
    assert run(machine, [second], IN.port) == ["KEPT_FRAGMENT"]
    assert run(machine, [first], IN.port) == ["ENCAPSULATED"]
    assert [fate.verdict for fate in machine.late] == ["ENCAPSULATED"]
    inner = ipv4(SHARED, FAR, OUT.payload[:24], ident=99, fragment=0x2000)
    frame = ether(ipv6(packets.OPTIONS + inner, CLIENT, next_header=60))
    assert run(machine, [frame], OUT.port) == ["DECAPSULATED"]


def test_what_waits_is_bounded(machine: Machine) -> None:
    each = pieces.WAITING_EACH
    many = [ether(ipv4(dst=SHARED, payload=bytes(8), fragment=0x2000 | n)) for n in range(9, 90)]
    verdicts = run(machine, many, IN.port)
    assert verdicts == ["KEPT_FRAGMENT"] * each + ["DROP_FRAGMENT_FLOOD"] * (len(many) - each)
    for first in range(0, pieces.WAITING, 100):
        idents = range(1000 + first, 1000 + first + 100)
        run(machine, [dataclasses.replace(IN, ident=ident).piece(1) for ident in idents], IN.port)
    assert run(machine, [dataclasses.replace(IN, ident=5).piece(1)], IN.port) == [
        "DROP_FRAGMENT_FLOOD"
    ]
    assert run(machine, OUT.pieces(), OUT.port) == ["DECAPSULATED"] * 3, "in order, as ever"
    outcome = machine.pass_time(NOW_S + 2)
    assert sum(len(released) for released in outcome.released) == pieces.WAITING
    assert run(machine, [IN.piece(1)], IN.port) == ["KEPT_FRAGMENT"]


def test_a_burst_of_pieces_is_looked_at_in_part(machine: Machine) -> None:
    whole = ether(ipv4())
    frames = [dataclasses.replace(IN, ident=n).piece(0) for n in range(pieces.BURST + 9)]
    verdicts = run(machine, [*frames, whole], IN.port)
    assert verdicts == (
        ["ENCAPSULATED"] * pieces.BURST + ["DROP_FRAGMENT_FLOOD"] * 9 + ["ENCAPSULATED"]
    )


@pytest.mark.untraced
@settings(max_examples=60)
@given(data=st.data())
def test_datagrams_of_many_in_any_order_arrive_whole(data: st.DataObject) -> None:
    """In bursts of any size, mixed with whole packets; what arrives is what was sent."""
    router = shared_machine()
    router.pass_time(NOW_S + 10_000)
    dice = data.draw(st.randoms(use_true_random=False))
    sent = [
        dataclasses.replace(
            kind,
            ident=ident,
            payload=kind.payload[:4] + dice.randbytes(data.draw(st.integers(20, 200))),
            size=data.draw(st.sampled_from([8, 16, 64])),
        )
        for ident, kind in enumerate(data.draw(st.lists(st.sampled_from([IN, OUT]), max_size=6)))
    ]
    frames = [
        (one, frame) for one in sent for frame in (one.pieces() if len(one.pieces()) <= 16 else [])
    ]
    dice.shuffle(frames)
    got: dict[int, list[oracle.Fate]] = {one.ident: [] for one in sent}
    while frames:
        size = data.draw(st.integers(1, 12))
        port = frames[0][0].port
        burst = [frame for one, frame in frames[:size] if one.port == port]
        frames = [pair for pair in frames[:size] if pair[0].port != port] + frames[size:]
        usual = ether(ipv4()) if port == worlds.INTERNET else packets.tunnelled()
        fates = router.run([*burst, usual], port, NOW_S, remember=True)
        assert fates[-1].verdict in {"ENCAPSULATED", "DECAPSULATED"}
        for fate in (*fates[:-1], *router.late):
            if fate.frame is not None:
                at = 54 if fate.frame[12:14] == b"\x86\xdd" else 14
                got[int.from_bytes(fate.frame[at + 4 : at + 6], "big")].append(fate)
    for one in sent:
        if len(one.pieces()) <= 16:
            assert received(got[one.ident]) == one.payload
            assert len(got[one.ident]) == len(one.pieces())
    assert router.pass_time(NOW_S + 1).released == []
