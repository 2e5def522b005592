"""What two other gateways get wrong: a test for each, by its number, that ours gets it right.

The numbers are those of `docs/datapath.md`, section "Where others fall short"; what only a running
router can show is in tests/netns/test_shortcomings.py.
"""

from __future__ import annotations

import dataclasses
import struct
from functools import cache
from ipaddress import IPv4Address, IPv4Network
from typing import Any, Final

import numpy as np

from dstmrouter.binding import LIFETIME_FOREVER, full_address_columns
from dstmrouter.pipeline.binding_writer import BindingWriter
from dstmrouter.pipeline.bindings import FIXED_ROWS, BindingTable, covered_blocks
from dstmrouter.pipeline.quiescence import Turns
from dstmrouter.pipeline.rules import IcmpRules
from tests import oracle
from tests.pipeline import packets, worlds
from tests.pipeline.machine import Machine
from tests.pipeline.packets import ether, ipv4, ipv6, tunnelled

LEASED: Final = worlds.leased(1)
CLIENT6: Final = worlds.CLIENTS6[1]
MILLION: Final = 1 << 20


@cache
def machine(**rules: Any) -> Machine:
    return Machine(worlds.world(**rules))


def fate(frame: bytes, port: int = worlds.ACCESS, **rules: Any) -> oracle.Fate:
    return machine(**rules).run([frame], port, worlds.NOW_S)[0]


def made(frame: bytes, port: int = worlds.ACCESS, **rules: Any) -> list[bytes]:
    """The IPv4 packets that a frame makes the router send of its own."""
    fate(frame, port, **rules)
    frames = [own.frame for own in machine(**rules).made]
    return [each[54:] if each[12:14] == b"\x86\xdd" else each[14:] for each in frames if each]


def icmp(packet: bytes) -> tuple[str, int, int, int]:
    """Destination, type, code and next-hop MTU of an ICMPv4 error."""
    kind, code, _, _, mtu = struct.unpack_from("!BBHHH", packet, 20)
    return str(IPv4Address(packet[16:20])), kind, code, mtu


def too_big6(mtu: int) -> bytes:
    """A valid Packet Too Big about a tunnel packet of ours."""
    about = ipv6(ipv4(packets.FAR, LEASED, bytes(1400)), worlds.TEP6, CLIENT6)[:600]
    message = struct.pack("!BBHI", 2, 0, 0, mtu) + about
    router = worlds.CLIENTS6[9]
    pseudo = router.packed + worlds.TEP6.packed + struct.pack("!II", len(message), 58)
    total = oracle.checksum(pseudo + message).to_bytes(2, "big")
    return ether(ipv6(message[:2] + total + message[4:], router, next_header=58))


# VPP 25.10, `map` ---------------------------------------------------------------------------------
# 1: tests/pipeline/test_bursts.py


def test_vpp_2_pings_in_transit_are_not_answered_by_the_gateway() -> None:
    ping = packets.echo()
    inbound = ether(ipv4(packets.FAR, LEASED, ping, protocol=1))
    assert fate(inbound, worlds.INTERNET).verdict == "ENCAPSULATED"
    outbound = ether(ipv6(ipv4(LEASED, packets.FAR, ping, protocol=1), CLIENT6))
    assert fate(outbound).verdict == "DECAPSULATED"
    across = ether(ipv6(ipv4(LEASED, worlds.leased(3), ping, protocol=1), CLIENT6))
    assert fate(across).verdict == "HAIRPINNED"
    assert not machine().made


def test_vpp_3_icmpv6_errors_are_relayed() -> None:
    [relayed] = made(too_big6(1400))
    assert icmp(relayed) == (str(packets.FAR), 3, 4, 1360)


def test_vpp_4_fragmentation_needed_tells_the_mtu_of_the_tunnel() -> None:
    [error] = made(ether(ipv4(payload=bytes(1441))), worlds.INTERNET)
    assert icmp(error) == (str(packets.FAR), 3, 4, 1460)


def test_vpp_5_the_source_of_whole_addresses_is_checked() -> None:
    foreign = ether(ipv6(ipv4(LEASED, packets.FAR), worlds.CLIENTS6[3]))
    assert fate(foreign).verdict == "DROP_SPOOF_CLIENT"


def test_vpp_6_ttl_1_is_answered() -> None:
    [inbound] = made(ether(ipv4(ttl=1)), worlds.INTERNET)
    assert icmp(inbound)[:3] == (str(packets.FAR), 11, 0)
    [outbound] = made(tunnelled(ttl=1))
    assert icmp(outbound)[:3] == (str(LEASED), 11, 0)


def test_vpp_7_only_our_own_outer_destinations_are_decapsulated() -> None:
    inner = ipv4(LEASED, packets.FAR)
    for dst in (worlds.CLIENTS6[2], worlds.CLIENTS6[1]):
        assert fate(ether(ipv6(inner, dst=dst))).verdict == "DROP_NOT_TEP6"


def test_vpp_8_congestion_marks_survive_the_exit() -> None:
    left = fate(tunnelled(traffic_class=0b11, tos=0b10)).frame
    assert left is not None
    assert left[15] & 0b11 == 0b11
    assert fate(tunnelled(traffic_class=0b11, tos=0)).verdict == "DROP_ECN_CE"


def test_vpp_9_clients_reach_each_other() -> None:
    across = fate(tunnelled(dst=worlds.leased(3)))
    assert (across.verdict, across.port) == ("HAIRPINNED", worlds.ACCESS)


# VPP 10: tests/netns/test_shortcomings.py


# Snabb lwAFTR 2024.08 -----------------------------------------------------------------------------


def test_snabb_1_the_ttl_goes_down_at_exit() -> None:
    left = fate(tunnelled(ttl=9)).frame
    assert left is not None
    assert left[14 + 8] == 8


def test_snabb_2_the_mtu_of_packet_too_big_has_32_bits() -> None:
    """65536 + 1300 is no MTU of 1300: nothing gets smaller by it."""
    router = Machine(worlds.world(), learns=True)
    router.run([too_big6(0x10000 + 1300)], worlds.ACCESS, worlds.NOW_S)
    fits = ether(ipv4(payload=bytes(1440)))
    [after] = router.run([fits], worlds.INTERNET, worlds.NOW_S)
    assert after.verdict == "ENCAPSULATED"
    router.run([too_big6(1300)], worlds.ACCESS, worlds.NOW_S)
    [after] = router.run([fits], worlds.INTERNET, worlds.NOW_S)
    assert after.verdict == "DROP_TOO_BIG"


# Snabb 3, 4, 5: tests/netns/test_shortcomings.py


def test_snabb_6_header_checksums_are_checked() -> None:
    assert fate(ether(ipv4(sum_off=1)), worlds.INTERNET).verdict == "DROP_V4_CHECKSUM"
    assert fate(ether(ipv6(ipv4(LEASED, "8.8.8.8", sum_off=1)))).verdict == "DROP_V4_CHECKSUM"


def test_snabb_7_one_binding_more_is_one_row_more_whatever_the_table_holds() -> None:
    """So no worker waits for it: a row and a slot are written, and nothing that is in use."""
    pools = [IPv4Network("10.0.0.0/11")]
    blocks, rows = len(covered_blocks(pools, None)) + 1, FIXED_ROWS + MILLION + 16
    table = BindingTable(bytearray(sum(BindingTable.sizes(blocks, rows))), blocks, rows)
    table.lay_out(pools, None)
    turns = Turns(bytearray(Turns.size(1)), 1)
    hops = lambda client6: np.zeros(len(client6), np.uint32)  # noqa: E731
    writer = BindingWriter(table, turns, (worlds.TEP6,), hops)
    first = int(pools[0].network_address)

    def put(start: int, count: int) -> None:
        numbers = np.arange(start, start + count, dtype=np.uint32)
        wide = numbers.astype(np.uint64)
        clients = np.stack([wide << np.uint64(8) | np.uint64(0x20), wide], axis=1)  # 20xx::
        columns = full_address_columns(
            numbers, clients, lifetime_s=LIFETIME_FOREVER, tep6=(worlds.TEP6,)
        )
        assert writer.apply("server", columns, 0).applied == count

    put(first, MILLION)
    slots, held = table.slots.copy(), table.rows.copy()
    put(first + MILLION, 1)
    assert int(np.count_nonzero(table.slots != slots)) == 1
    assert int(np.count_nonzero(table.rows != held)) == 1


def test_snabb_8_errors_about_unbound_addresses_are_bounded() -> None:
    """Whatever arrives, one burst makes so many errors and not more."""
    nobody = [ether(ipv4(dst=worlds.leased(100 + n % 100))) for n in range(1024)]
    router = Machine(worlds.world(icmp=IcmpRules()))
    router.run(nobody, worlds.INTERNET, worlds.NOW_S)
    assert 1 <= len(router.made) <= 128


def test_snabb_9_oversized_packets_are_told_of_and_not_counted_as_sent() -> None:
    frame = ether(ipv6(ipv4(LEASED, "10.1.0.1", bytes(581)), CLIENT6))
    assert fate(frame).verdict == "DROP_TOO_BIG_V4"
    [error] = made(frame)
    assert icmp(error) == (str(LEASED), 3, 4, 600)


def test_snabb_10_padding_of_ethernet_stays_behind() -> None:
    packet = ipv4(payload=b"")
    wrapped = fate(ether(packet) + bytes(26), worlds.INTERNET).frame
    assert wrapped is not None
    assert len(wrapped) == 14 + 40 + len(packet)
    inner = ipv4(LEASED, packets.FAR, b"")
    left = fate(ether(ipv6(inner) + bytes(7))).frame
    assert left is not None
    assert len(left) == 14 + len(inner)


def test_snabb_11_the_encapsulation_limit_and_inner_fragments_pass() -> None:
    inner = ipv4(LEASED, packets.FAR)
    limited = ether(ipv6(packets.OPTIONS + inner, next_header=60))
    assert fate(limited).verdict == "DECAPSULATED"
    for fragment in (0x2000, 0x2003, 0x0003):
        assert fate(tunnelled(fragment=fragment)).verdict == "DECAPSULATED"
        arriving = ether(ipv4(fragment=fragment))
        assert fate(arriving, worlds.INTERNET).verdict == "ENCAPSULATED"


def test_snabb_12_excluded_ports_are_nobodys_as_rfc_7597_says() -> None:
    """Section 5.1: with an offset of a > 0 bits, a port is in a set only if its first a bits, A,
    are not all zero; then the next k bits are the PSID, whatever A is.
    """
    base = worlds.world()
    offset, length, client = 6, 8, worlds.CLIENTS6[1]
    held = {psid: dataclasses.replace(worlds.HELD[LEASED]) for psid in range(1 << length)}
    spec = worlds.SharedSpec(offset, length, held)
    router = Machine(dataclasses.replace(base, bindings={}, shared={LEASED: spec}))
    ports = (0, 1, 52, 80, 1022, 1023, 1024, 1232, 2048, 64720, 65535)
    for port in ports:
        udp = struct.pack("!HH", 4711, port) + bytes(8)
        [found] = router.run([ether(ipv4(payload=udp))], worlds.INTERNET, worlds.NOW_S)
        assert (found.verdict == "ENCAPSULATED") == (port >= 1024), port
        udp = struct.pack("!HH", port, 4711) + bytes(8)
        leaving = ether(ipv6(ipv4(LEASED, packets.FAR, udp), client))
        [found] = router.run([leaving], worlds.ACCESS, worlds.NOW_S)
        assert (found.verdict == "DECAPSULATED") == (port >= 1024), port
