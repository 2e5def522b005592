"""IPv4 fragments of what is larger than the link it leaves by (R18; RFC 791, RFC 1812 4.2.2.7)."""

from __future__ import annotations

import struct
from functools import cache
from typing import Final

import pytest

from dstmrouter.pipeline.fragment4 import OPTIONS_BUDGET, copied_options
from tests import oracle
from tests.pipeline import worlds
from tests.pipeline.machine import Machine
from tests.pipeline.packets import ether, ipv4, ipv6

SMALL_LINK: Final = "10.1.0.1"  # behind a link with an MTU of 600
ROUTER_ALERT, RECORD_ROUTE = bytes.fromhex("94040000"), bytes.fromhex("07070400000000")


@cache
def machine() -> Machine:
    return Machine(worlds.world())


def leaving(packet: bytes) -> list[bytes]:
    """IPv4 packets that leave by the small link for one out of a tunnel."""
    router = machine()
    (fate,) = router.run([ether(ipv6(packet))], worlds.ACCESS, worlds.NOW_S)
    assert fate.verdict == "DECAPSULATED"
    assert {made.port for made in router.made} <= {worlds.SMALL}
    return [frame[14:] for frame in (fate.frame, *(m.frame for m in router.made)) if frame]


def packet(size: int, fragment: int = 0, options: bytes = b"") -> bytes:
    payload = bytes(range(250)) * 8
    return ipv4(
        worlds.leased(1), SMALL_LINK, payload[:size], fragment=fragment, options=options, ident=77
    )


def test_r18_pieces_fit_and_carry_everything() -> None:
    whole = packet(1440)
    found = leaving(whole)
    assert [len(piece) for piece in found] == [20 + 576, 20 + 576, 20 + 288]
    assert [struct.unpack_from("!H", piece, 6)[0] for piece in found] == [0x2000, 0x2048, 0x0090]
    assert b"".join(piece[20:] for piece in found) == whole[20:]
    for piece in found:
        assert oracle.checksum(piece[:20]) == 0
        assert piece[8] == whole[8] - 1
        assert piece[4:6] == b"\0\x4d"


@pytest.mark.parametrize(("size", "pieces"), [(580, 1), (581, 2), (1152, 2), (1153, 3)])
def test_r18_no_more_pieces_than_needed(size: int, pieces: int) -> None:
    assert len(leaving(packet(size))) == pieces


def test_r18_a_fragment_is_cut_into_fragments_of_the_same_datagram() -> None:
    fields = [struct.unpack_from("!H", p, 6)[0] for p in leaving(packet(800, fragment=0x2064))]
    assert fields == [0x2064, 0x2000 | 0x64 + 72]
    fields = [struct.unpack_from("!H", p, 6)[0] for p in leaving(packet(800, fragment=0x0064))]
    assert fields == [0x2064, 0x64 + 72]


def test_r18_df_keeps_a_packet_whole() -> None:
    frame = ether(ipv6(packet(800, fragment=0x4000)))
    (fate,) = machine().run([frame], worlds.ACCESS, worlds.NOW_S)
    assert fate.verdict == "DROP_TOO_BIG_V4"


def test_r18_what_would_end_behind_the_last_offset_is_no_packet() -> None:
    frame = ether(ipv6(packet(1000, fragment=0x1FFF)))
    (fate,) = machine().run([frame], worlds.ACCESS, worlds.NOW_S)
    assert fate.verdict == "DROP_V4_MALFORMED"


def test_rfc791_only_options_with_the_copied_flag_are_in_later_pieces() -> None:
    options = RECORD_ROUTE + b"\x01" + ROUTER_ALERT
    first, second = leaving(packet(1000, options=options))
    assert first[20:32] == options
    assert (first[0], second[0]) == (0x48, 0x46)
    assert second[20:24] == ROUTER_ALERT
    assert oracle.checksum(first[:32]) == oracle.checksum(second[:24]) == 0
    assert first[32:] + second[24:] == (bytes(range(250)) * 8)[:1000]


def test_options_are_read_within_their_header_only() -> None:
    assert copied_options(ROUTER_ALERT + b"\0\xff\xff\xff") == ROUTER_ALERT
    assert copied_options(b"\x83\x05\1\2\3\0\0\0") == b"\x83\x05\1\2\3\0\0\0"
    for odd in (b"\x94", b"\x94\x00", b"\x94\x01", b"\x94\x05\0\0", b"\x94\xff" + bytes(2)):
        assert copied_options(odd) == b""
        assert copied_options(ROUTER_ALERT + odd) == ROUTER_ALERT


def test_packets_with_options_are_cut_within_a_budget() -> None:
    frame = ether(ipv6(packet(1000, options=b"\x01" * 4)))
    plain = ether(ipv6(packet(1000)))
    burst = [frame] * (OPTIONS_BUDGET + 3) + [plain]
    found = [fate.verdict for fate in machine().run(burst, worlds.ACCESS, worlds.NOW_S)]
    assert found == ["DECAPSULATED"] * OPTIONS_BUDGET + ["DROP_CUT_BUDGET"] * 3 + ["DECAPSULATED"]


def test_without_frames_packets_are_dropped_and_counted() -> None:
    router = Machine(worlds.world())
    router.spare.free = router.spare.free[:3]
    burst = [ether(ipv6(packet(1440))), ether(ipv6(packet(20))), ether(ipv6(packet(1440)))]
    found = [fate.verdict for fate in router.run(burst, worlds.ACCESS, worlds.NOW_S)]
    assert found == ["DECAPSULATED", "DECAPSULATED", "DROP_NO_FRAME"]
    assert len(router.spare) == 3
