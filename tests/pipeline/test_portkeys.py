"""What a key is made of, by known answers; all combinations: test_forward against the oracle."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from dstmrouter.pipeline import inner, portkeys
from dstmrouter.pipeline.bindings import RowKind
from dstmrouter.pipeline.memory import FrameMemory
from dstmrouter.pipeline.portkeys import FINE, Side
from tests.pipeline import packets, worlds
from tests.pipeline.packets import FAR, echo, error, ipv4, ports

if TYPE_CHECKING:
    from ipaddress import IPv4Address

AT = 3
SHARED = worlds.leased(5)


def key(packet: bytes, side: Side) -> int | RowKind:
    memory = FrameMemory(bytearray(bytes(AT) + packet + bytes(5000)))
    at = np.array([AT], np.intp)
    read, _ = inner.read(memory, at, np.array([len(packet)]), None, "dst_upper")
    port, why = portkeys.of(memory, read, side)
    return int(port[0]) if why[0] == FINE else RowKind(int(why[0]))


def both(packet: bytes) -> tuple[int | RowKind, int | RowKind]:
    return key(packet, Side.SRC), key(packet, Side.DST)


@pytest.mark.parametrize("protocol", [6, 17, 33, 132])
@pytest.mark.parametrize("options", [b"", b"\x01" * 4, b"\x01" * 40])
def test_transports_have_a_port_each_way(protocol: int, options: bytes) -> None:
    packet = ipv4(payload=ports(4711, 53), protocol=protocol, options=options)
    assert both(packet) == (4711, 53)


def test_other_transports_and_packets_without_room_for_ports_have_none() -> None:
    for packet in (
        ipv4(payload=ports(4711, 53), protocol=47),
        ipv4(payload=ports(4711, 53), protocol=2),
        ipv4(payload=b"\x12\x67\x00"),
        ipv4(payload=b"\x08\x00\x00\x00\x00\x00\x00", protocol=1),
    ):
        assert both(packet) == (RowKind.NO_PORT, RowKind.NO_PORT)


def test_pieces_are_another_matter() -> None:
    for fragment in (0x2000, 0x2001, 1, 0x1FFF, 0x4001):
        for payload, protocol in ((ports(4711, 53), 17), (echo(), 1)):
            packet = ipv4(payload=payload, protocol=protocol, fragment=fragment)
            assert both(packet) == (RowKind.PIECE, RowKind.PIECE)
    assert both(ipv4(payload=ports(4711, 53), fragment=0x8000)) == (4711, 53)


@pytest.mark.parametrize("kind", [0, 8])
def test_r25_identifiers_of_echo_messages_are_ports_both_ways(kind: int) -> None:
    assert both(ipv4(payload=echo(kind, ident=777), protocol=1)) == (777, 777)
    assert both(ipv4(payload=echo(kind, ident=777, code=1), protocol=1)) == (777, 777)


def test_r25_damaged_echo_messages_are_nobodys() -> None:
    damaged = echo(ident=777)[:-1] + b"!"
    assert both(ipv4(payload=damaged, protocol=1)) == (RowKind.DAMAGED, RowKind.DAMAGED)


@pytest.mark.parametrize("kind", [1, 2, 9, 10, 13, 14, 15, 16, 17, 18, 255])
def test_r25_messages_that_are_neither_echo_nor_error_have_no_key(kind: int) -> None:
    assert both(ipv4(payload=echo(kind), protocol=1)) == (RowKind.NO_PORT, RowKind.NO_PORT)


@pytest.mark.parametrize("kind", [3, 4, 5, 11, 12])
@pytest.mark.parametrize("options", [b"", b"\x01" * 40])
def test_r25_errors_have_the_key_of_the_packet_they_quote(kind: int, options: bytes) -> None:
    """Towards the client it is the source port: the client sent it; from the client the other."""
    sent = ipv4(SHARED, FAR, ports(1232, 53), options=options)
    assert key(ipv4(dst=SHARED, payload=error(sent, kind), protocol=1), Side.DST) == 1232
    received = ipv4(FAR, SHARED, ports(53, 1232), options=options)
    assert key(ipv4(SHARED, FAR, error(received, kind), protocol=1), Side.SRC) == 1232


def test_r25_errors_about_pings_have_their_identifier() -> None:
    for kind in (0, 8):
        sent = ipv4(SHARED, FAR, echo(kind, ident=1233), protocol=1)
        assert key(ipv4(dst=SHARED, payload=error(sent), protocol=1), Side.DST) == 1233


def about(quoted: bytes, dst: IPv4Address = SHARED, **fields: int) -> int | RowKind:
    return key(ipv4(dst=dst, payload=error(quoted), protocol=1, **fields), Side.DST)  # type: ignore[arg-type]  # all are int


def test_r25_quotes_that_say_nothing() -> None:
    sent = ipv4(SHARED, FAR, ports(1232, 53))
    assert about(sent) == 1232
    assert about(sent[:28]) == 1232, "the first eight octets are enough"
    for quoted in (
        sent[:27],
        sent[:19],
        b"",
        ipv4(SHARED, FAR, ports(1232, 53), version=6),
        ipv4(SHARED, FAR, ports(1232, 53), words=4),
        ipv4(SHARED, FAR, ports(1232, 53), words=15),
        ipv4(SHARED, FAR, ports(1232, 53), fragment=1),
        ipv4(SHARED, FAR, ports(1232, 53), protocol=47),
        ipv4(SHARED, FAR, error(sent), protocol=1),
        ipv4(FAR, SHARED, ports(1232, 53)),  # it was not sent by the client
        ipv4(packets.CLIENT4, FAR, ports(1232, 53)),
    ):
        assert about(quoted) == RowKind.NO_PORT
    assert about(ipv4(SHARED, FAR, ports(1232, 53), fragment=0x2000)) == 1232


def test_r25_checksums_of_error_and_quoted_header_are_verified_but_no_others() -> None:
    sent = ipv4(SHARED, FAR, ports(1232, 53))
    wrong = ipv4(dst=SHARED, payload=error(sent, sum_off=1), protocol=1)
    assert key(wrong, Side.DST) == RowKind.DAMAGED
    assert about(ipv4(SHARED, FAR, ports(1232, 53), sum_off=1)) == RowKind.DAMAGED
    assert about(ipv4(SHARED, FAR, ports(1232, 53), sum_off=1, options=bytes(8))) == RowKind.DAMAGED
    assert about(ipv4(SHARED, FAR, ports(1232, 53), options=bytes(8))) == 1232


def test_what_is_malformed_is_read_without_harm() -> None:
    for wrong in ({"words": 0}, {"words": 15}, {"longer": 60_000}, {"longer": -20}):
        for protocol in (1, 6):
            payload = error(ipv4(SHARED)) if protocol == 1 else ports(1, 2)
            both(ipv4(payload=payload, protocol=protocol, **wrong))  # type: ignore[arg-type]  # all are int
