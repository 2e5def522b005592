from __future__ import annotations

from ipaddress import IPv4Address
from typing import TYPE_CHECKING

import numpy as np
import pytest

from dstmrouter.pipeline import icmp4, inner
from dstmrouter.pipeline.icmp4 import About, Error, Icmp4Builder
from dstmrouter.pipeline.memory import FrameMemory
from dstmrouter.pipeline.verdict import Verdict
from dstmrouter.wire import ipv4
from tests import oracle
from tests.pipeline import packets, worlds

if TYPE_CHECKING:
    from dstmrouter.pipeline.inner import Inner

STEP = 2048
FREE = 64 * STEP  # where errors are built
TOO_BIG = Error(Verdict.SENT_TOO_BIG, 3, 4)


def laid_out(*octets: bytes) -> tuple[FrameMemory, bytearray, Inner]:
    buffer = bytearray(b"\xaa" * (128 * STEP))
    for number, packet in enumerate(octets):
        buffer[number * STEP : number * STEP + len(packet)] = packet
    memory = FrameMemory(buffer)
    at = np.arange(len(octets)) * STEP
    header = memory.read(at, ipv4.PACKET)
    total_len, dst = header["total_len"].astype(np.int64), header["dst"].astype(np.uint32)
    return memory, buffer, inner.Inner(at, header, total_len, dst)


def built(*octets: bytes, rest: list[int] | None = None) -> list[bytes]:
    memory, buffer, found = laid_out(*octets)
    builder = Icmp4Builder(memory, int(worlds.TEP4), 64)
    places = FREE + np.arange(len(octets)) * STEP
    about = About(found, False, None if rest is None else np.array(rest, np.int64))
    errors = builder.build(places, TOO_BIG, about)
    ends = (places + errors.total_len).tolist()
    return [bytes(buffer[at:end]) for at, end in zip(places.tolist(), ends, strict=True)]


def test_r23_an_error_octet_by_octet() -> None:
    octets = packets.ipv4("198.18.7.7", "203.0.113.1", b"12345678")
    [error] = built(octets, rest=[1360])
    assert error[:20].hex() == "4500003800000000" + "4001" + error[10:12].hex() + "c0000201c6120707"
    assert error[20:22] + error[24:28] == bytes.fromhex("0304" + "00000550")
    assert error[28:] == octets
    assert oracle.checksum(error[:20]) == 0
    assert oracle.checksum(error[20:]) == 0


@pytest.mark.parametrize("size", [20, 21, 47, 547, 548, 549, 576, 1500])
def test_r23_an_error_quotes_what_fits_into_576_octets(size: int) -> None:
    octets = packets.ipv4(payload=bytes(range(256)) * 5 + bytes(220))[:size]
    octets = packets.ipv4(payload=octets[20:])
    [error] = built(octets)
    assert error[28:] == octets[:548]
    assert len(error) == min(28 + size, 576) == int.from_bytes(error[2:4], "big")
    assert oracle.checksum(error[20:]) == 0


def test_r23_each_of_a_burst_has_its_own_length_and_mtu() -> None:
    all_octets = [packets.ipv4(payload=bytes(size)) for size in (0, 700, 3, 528)]
    errors = built(*all_octets, rest=[1, 2, 3, 70_000])
    assert [len(error) for error in errors] == [48, 576, 51, 576]
    assert [int.from_bytes(error[24:28], "big") for error in errors] == [1, 2, 3, 70_000]
    assert [oracle.checksum(error[20:]) for error in errors] == [0] * 4


def test_r23_what_stands_behind_the_packet_in_its_frame_is_not_told() -> None:
    [error] = built(packets.ipv4(payload=b"x") + b"secret")
    assert b"secret" not in error
    assert b"\xaa" not in error


@pytest.mark.parametrize(
    ("octets", "fine"),
    [
        (packets.ipv4(), True),
        (packets.ipv4(fragment=0x2000), True),
        (packets.ipv4(fragment=0x0001), False),
        (packets.ipv4(fragment=0x1FFF), False),
        (packets.ipv4(fragment=0xC000), True),
        (packets.ipv4(payload=packets.echo(8), protocol=1), True),
        (packets.ipv4(payload=packets.echo(0), protocol=1), True),
        *[(packets.ipv4(payload=packets.echo(kind), protocol=1), False) for kind in (3, 5, 11, 99)],
        (packets.ipv4(payload=b"\x08", protocol=1), True),
        (packets.ipv4(payload=b"", protocol=1), False),
        (packets.ipv4(payload=packets.echo(8), protocol=1, options=b"\1" * 40), True),
        (packets.ipv4(payload=packets.echo(3), protocol=1, options=b"\1" * 40), False),
        (packets.ipv4(payload=b"\x03", protocol=1, options=b"\x08" * 4), False),
        *[
            (packets.ipv4(src, worlds.leased(1)), False)
            for src in ("0.0.0.0", "127.0.0.1", "224.0.0.1", "255.255.255.255", "240.0.0.1")
        ],
        (packets.ipv4(dst="224.0.0.1"), False),
        (packets.ipv4(dst="255.255.255.255"), False),
    ],
)
def test_r24_what_no_error_is_sent_about(octets: bytes, fine: bool) -> None:
    memory, _, found = laid_out(octets)
    assert icmp4.answerable(memory, found).tolist() == [fine]


def test_r24_the_rows_of_a_burst_are_judged_apart() -> None:
    kinds = [(17, b"\3\0"), (1, b"\3\0"), (1, b"\x08\0"), (6, b"\3\0"), (1, b"\x0b\0")]
    memory, _, found = laid_out(*[packets.ipv4(payload=p, protocol=n) for n, p in kinds])
    assert icmp4.answerable(memory, found).tolist() == [True, False, True, True, False]


def test_errors_go_to_who_sent_the_packet() -> None:
    memory, _, found = laid_out(packets.ipv4("8.8.8.8"), packets.ipv4("9.9.9.9"))
    builder = Icmp4Builder(memory, int(worlds.TEP4), 1)
    errors = builder.build(FREE + np.arange(2) * STEP, TOO_BIG, About(found, False))
    assert [str(IPv4Address(int(dst))) for dst in errors.dst] == ["8.8.8.8", "9.9.9.9"]
    assert errors.header["ttl"].tolist() == [1, 1]
