from __future__ import annotations

import dataclasses
import struct
from functools import cache
from typing import Any

import numpy as np
import pytest

from dstmrouter.pipeline import forward
from dstmrouter.pipeline.client_mtus import ClientMtus
from tests.pipeline import packets, worlds
from tests.pipeline.examples import about_ours
from tests.pipeline.machine import Machine
from tests.pipeline.packets import ether, icmpv6, ipv4, ipv6
from tests.pipeline.told import Told, told

CLIENT6, TEP6 = worlds.CLIENTS6[1], worlds.TEP6
FAR = str(packets.FAR)
OURS = ipv6(ipv4(), TEP6, CLIENT6)
NOTED, BAD, PASSED_ON = "DROP_ICMPV6_NOTED", "DROP_ICMPV6_BAD", "DROP_ICMPV6"


@cache
def machine(**changes: Any) -> Machine:
    return Machine(worlds.world(icmp=dataclasses.replace(worlds.ICMP, **changes)))


def became(frame: bytes, **changes: Any) -> tuple[str, list[Told]]:
    router = machine(**changes)
    [fate] = router.run([frame], worlds.ACCESS, worlds.NOW_S)
    return fate.verdict, [told(error) for error in router.made]


def about(quoted: bytes, kind: int = 1, code: int = 3, rest: int = 0, **fields: Any) -> bytes:
    return ether(icmpv6(kind, code, rest, quoted, CLIENT6, TEP6, **fields))


@pytest.mark.parametrize(
    ("kind", "code", "rest", "verdict"),
    [
        *[(1, code, 0, PASSED_ON) for code in range(7)],
        (3, 0, 0, PASSED_ON),
        (3, 1, 0, NOTED),
        (4, 0, 0, NOTED),
        (4, 1, 6, NOTED),
        (4, 0, 44, NOTED),  # there is no encapsulation limit
    ],
)
def test_r22_lost_ways_are_unreachable_hosts(kind: int, code: int, rest: int, verdict: str) -> None:
    found, errors = became(about_ours(kind, code, rest))
    assert found == verdict
    if verdict == NOTED:
        assert errors == []
        return
    [error] = errors
    assert (error.verdict, error.port) == ("SENT_RELAYED_UNREACHABLE", worlds.INTERNET)
    assert (error.to, error.type, error.code, error.rest) == (FAR, 3, 1, 0)
    assert error.quote == ipv4()


@pytest.mark.parametrize(
    ("mtu", "verdict", "told_mtu"),
    [
        (1400, PASSED_ON, 1360),
        (1280, PASSED_ON, 1240),
        (1279, BAD, None),
        (0, BAD, None),
        (1500, PASSED_ON, 1460),
        (9000, PASSED_ON, 1460),  # nothing is larger than what we think of the path
        (0x10000 + 1400, PASSED_ON, 1460),  # 32 bits: read as 16 it would be 1400
        (0xFFFFFFFF, PASSED_ON, 1460),
    ],
)
def test_r22_packet_too_big_is_fragmentation_needed(
    mtu: int, verdict: str, told_mtu: int | None
) -> None:
    found, errors = became(about_ours(2, 0, mtu))
    assert found == verdict
    assert [error.rest for error in errors] == ([] if told_mtu is None else [told_mtu])
    for error in errors:
        assert (error.verdict, error.to) == ("SENT_RELAYED_TOO_BIG", FAR)
        assert (error.type, error.code, error.quote) == (3, 4, ipv4())


def test_r22_without_df_nobody_is_told() -> None:
    assert became(about_ours(2, 0, 1400, ipv4(fragment=0))) == (NOTED, [])


@pytest.mark.parametrize(("option", "overhead"), [(packets.OPTIONS, 48), (b"", 40)])
def test_r22_the_mtu_is_less_what_the_headers_took(option: bytes, overhead: int) -> None:
    quoted = ipv6(option + ipv4(), TEP6, CLIENT6, next_header=60 if option else 4)
    _, [error] = became(about(quoted, 2, 0, 1400))
    assert error.rest == 1400 - overhead


def test_r22_a_first_piece_counts_its_fragment_header() -> None:
    piece = struct.pack("!BBHI", 4, 0, 1, 77)
    _, [error] = became(about(ipv6(piece + ipv4(), TEP6, CLIENT6, next_header=44), 2, 0, 1400))
    assert error.rest == 1400 - 48


@pytest.mark.parametrize(("limit", "pointer", "verdict"), [(0, 44, 0), (4, 44, 0), (4, 43, 1)])
def test_r22_a_limit_used_up_on_the_way_is_a_lost_way_whatever_its_value(
    limit: int, pointer: int, verdict: int
) -> None:
    option = packets.OPTIONS[:4] + bytes([limit]) + packets.OPTIONS[5:]
    frame = about(ipv6(option + ipv4(), TEP6, CLIENT6, next_header=60), 4, 0, pointer)
    assert became(frame)[0] == (PASSED_ON, NOTED)[verdict]


@pytest.mark.parametrize(
    "frame",
    [
        about(OURS, off=1),
        about(ipv6(ipv4(), worlds.TEP6_B, CLIENT6)),  # not the end of this tunnel
        about(ipv6(ipv4(), worlds.CLIENTS6[8], CLIENT6)),
        about(ipv6(ipv4(), TEP6, worlds.CLIENTS6[3])),  # somebody else's tunnel
        about(ipv6(ipv4(dst=worlds.leased(200)), TEP6, CLIENT6)),
        about(ipv6(ipv4(dst=worlds.leased(4)), TEP6, worlds.CLIENTS6[4])),  # over
        about(ipv6(ipv4(), TEP6, CLIENT6, next_header=41)),
        about(ipv6(ipv4(), TEP6, CLIENT6, version=7)),
        about(ipv6(ipv4(version=5), TEP6, CLIENT6)),
        about(ipv6(ipv4(words=4), TEP6, CLIENT6)),
        about(OURS[: 40 + 27]),
        about(OURS[:39]),
        about(b""),
        ether(ipv6(b"\1\3\0", CLIENT6, TEP6, next_header=58)),
        ether(ipv6(b"", CLIENT6, TEP6, next_header=58)),
    ],
)
def test_r22_what_we_cannot_have_sent_is_not_believed(frame: bytes) -> None:
    assert became(frame) == (BAD, [])


@pytest.mark.parametrize("size", [68, 75, len(OURS)])
def test_r22_eight_octets_behind_the_ipv4_header_are_enough(size: int) -> None:
    found, [error] = became(about(OURS[:size]))
    assert (found, error.quote) == (PASSED_ON, ipv4()[: size - 40])


@pytest.mark.parametrize(
    "inner",
    [
        ipv4(payload=packets.echo(3), protocol=1),
        ipv4(fragment=0x2005),
        ipv4("224.0.0.1"),
    ],
)
def test_r24_holds_for_what_is_relayed(inner: bytes) -> None:
    assert became(about_ours(1, 0, 0, inner)) == (PASSED_ON, [])


def test_r22_errors_about_our_own_packets_go_nowhere() -> None:
    assert became(about_ours(1, 0, 0, ipv4(worlds.TEP4))) == (NOTED, [])


def test_r22_a_client_is_told_through_its_tunnel() -> None:
    found, [error] = became(about_ours(3, 0, 0, ipv4(worlds.leased(3))))
    assert found == PASSED_ON
    assert (error.port, error.to) == (worlds.ACCESS, str(worlds.leased(3)))
    assert error.tunnel == (str(worlds.TEP6_C), str(worlds.CLIENTS6[3]))


def test_r25_packets_of_port_sets_are_told_apart() -> None:
    client = worlds.SHARED[worlds.leased(5)].holders[0x34].client6
    inside, outside = (
        ipv6(ipv4(dst=worlds.leased(5), payload=packets.ports(9, port)), TEP6, client)
        for port in (1232, 1236)
    )
    assert became(about(inside))[0] == PASSED_ON
    assert became(about(outside))[0] == BAD


def test_r25_a_ping_of_which_only_the_start_is_quoted_has_no_checksum_to_check() -> None:
    client = worlds.SHARED[worlds.leased(5)].holders[0x34].client6
    ping = ipv4(dst=worlds.leased(5), payload=packets.echo(ident=1232, data=b"ab" * 9), protocol=1)
    whole = ipv6(ping, TEP6, client)
    assert [became(about(whole[:size]))[0] for size in (len(whole), 75)] == [PASSED_ON] * 2


def test_the_operator_may_turn_it_off() -> None:
    assert became(about_ours(1, 0, 0), relay=False) == (NOTED, [])
    assert became(about_ours(2, 0, 1400), relay=False) == (NOTED, [])


def test_options_in_front_of_the_message_are_walked_over() -> None:
    message = icmpv6(1, 0, 0, OURS, CLIENT6, TEP6)
    option = bytes([58]) + packets.OPTIONS[1:]
    frame = ether(ipv6(option + message[40:], CLIENT6, TEP6, next_header=60))
    assert became(frame)[0] == PASSED_ON


def test_a_flood_is_not_looked_at_beyond_its_share() -> None:
    router = machine(burst_limit=3)
    fates = router.run([about_ours(1, 0, 0)] * 5, worlds.ACCESS, worlds.NOW_S)
    assert [fate.verdict for fate in fates] == [PASSED_ON] * 3 + ["DROP_ICMPV6_FLOOD"] * 2
    assert len(router.made) == 3


class Learning(ClientMtus):
    """Remembers what it is told; knows client 1."""

    heard: list[tuple[bytes, int, float]]

    def learn(self, client6: Any, mtu: Any, now_s: float) -> None:
        rows = zip(client6, mtu.tolist(), strict=True)
        self.heard += [(row.tobytes(), octets, now_s) for row, octets in rows]

    def known(self, client6: Any) -> Any:
        return np.array([row.tobytes() == CLIENT6.packed for row in client6], np.bool_)


def test_r21_valid_messages_are_learned_from_also_about_later_pieces(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(Learning, "heard", [], raising=False)
    monkeypatch.setattr(forward, "ClientMtus", Learning)
    router = Machine(worlds.world())
    piece = struct.pack("!BBHI", 4, 0, 8, 77) + b"later"
    frames = [
        about_ours(2, 0, 1400),
        about_ours(2, 0, 1279),
        about_ours(2, 0, 1300, ipv4(fragment=0)),
        about_ours(1, 0, 1320),
        about(ipv6(piece, TEP6, CLIENT6, next_header=44), 2, 0, 1350),
        about(ipv6(piece, TEP6, worlds.CLIENTS6[3], next_header=44), 2, 0, 1350),
        about(ipv6(piece, worlds.CLIENTS6[8], CLIENT6, next_header=44), 2, 0, 1350),
        about(ipv6(piece, TEP6, CLIENT6, next_header=44), 1, 0, 0),
    ]
    fates = router.run(frames, worlds.ACCESS, worlds.NOW_S)
    verdicts = [PASSED_ON, BAD, NOTED, PASSED_ON, NOTED, BAD, BAD, NOTED]
    assert [fate.verdict for fate in fates] == verdicts
    heard = [(CLIENT6.packed, mtu, worlds.NOW_S) for mtu in (1400, 1300, 1350)]
    assert Learning.heard == heard
    assert len(router.made) == 2
