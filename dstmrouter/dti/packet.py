"""The checks and the two rewrites of a client: one packet at a time, plain octets, no I/O.

A host sends and receives through one TUN device, a read(2) per packet; there are no bursts, so
nothing is gained from the columns of `wire` (a numpy field of one packet costs more than all of
this). RFC 2473 (4over6), RFC 6040 (ECN), RFC 6333 section 7.1 (the traffic class is carried in both
directions), RFC 6438 (flow label).
"""

from __future__ import annotations

import struct
from hashlib import blake2s
from typing import Final

from dstmrouter.dti.verdict import Verdict

IPV4: Final = struct.Struct("!BBHHHBBH4s4s")  # RFC 791 section 3.1, without options
FRAGMENT: Final = 0x3FFF  # more-fragments flag and offset
FRAGMENT_OFFSET: Final = 0x1FFF
PORTS_AT_ONCE: Final = frozenset({6, 17, 33, 132})  # TCP, UDP, DCCP, SCTP: ports come first
ICMP, TCP, UDP = 1, 6, 17
ECHOES: Final = frozenset({0, 8})  # RFC 792: reply and request
ICMP_ERRORS: Final = frozenset({3, 11, 12})
ICMP_IDENTIFIER_AT: Final = 4  # octets into the header of an echo
UDP_CHECKSUM_AT: Final = 6  # octets into the UDP header
TCP_CHECKSUM_AT: Final = 16  # octets into the TCP header
MULTICAST: Final = 224  # first octet of 224/4; reserved addresses and broadcast lie above

NOT_ECT, ECT1, ECT0, CE = range(4)  # RFC 3168 section 5

# RFC 6040 section 4.2, figure 4: row = inner, column = outer -> ECN field on exit, or a drop;
# a combination that the RFC calls dangerous or unexpected is delivered and counted apart
_OK, _ODD, _DROP = Verdict.IN_DELIVERED, Verdict.IN_DELIVERED_ECN, Verdict.IN_ECN
ECN_ON_EXIT: Final = (
    ((NOT_ECT, _OK), (NOT_ECT, _ODD), (NOT_ECT, _ODD), (NOT_ECT, _DROP)),
    ((ECT1, _OK), (ECT1, _OK), (ECT1, _ODD), (CE, _OK)),
    ((ECT0, _OK), (ECT1, _OK), (ECT0, _OK), (CE, _OK)),
    ((CE, _OK), (CE, _ODD), (CE, _OK), (CE, _OK)),
)


def check_outward(packet: memoryview, client4: bytes) -> Verdict:
    """Judge what the host wants to send: OUT_SENT, or the reason to drop it."""
    if len(packet) < IPV4.size or packet[0] >> 4 != 4:
        return Verdict.OUT_NOT_IPV4
    _, _, total_len, _, _, _, _, _, src, dst = IPV4.unpack_from(packet)
    if total_len != len(packet):
        return Verdict.OUT_NOT_IPV4
    if src != client4:
        return Verdict.OUT_SOURCE
    if dst[0] >= MULTICAST:
        return Verdict.OUT_NOT_UNICAST
    return Verdict.OUT_SENT


def is_ours(packet: memoryview, ports: bytes) -> bool:
    """Tell whether a checked packet keeps to a port set (RFC 7597 section 8.1).

    `ports` has an octet for each of the 65536: not 0 if it is ours. An ICMP error is about a packet
    that was sent to a port of ours, so it is let pass, and so is a fragment that is not the first
    one, of no use without it; what has no ports is not.
    """
    header_len = (packet[0] & 15) * 4
    fragment = int.from_bytes(packet[6:8], "big") & FRAGMENT_OFFSET
    if fragment:
        return True
    if len(packet) < header_len + 8:
        return False
    if packet[9] == ICMP:
        if packet[header_len] not in ECHOES:
            return packet[header_len] in ICMP_ERRORS
        header_len += ICMP_IDENTIFIER_AT
    elif packet[9] not in {TCP, UDP}:
        return False
    return ports[int.from_bytes(packet[header_len : header_len + 2], "big")] != 0


def readdress(packet: bytearray, client4: bytes) -> bool:
    """Make `client4` the source of a packet that was sent before the host knew it.

    For UDP and ICMP, whose answers find their socket by port or identifier. A TCP segment would be
    answered to a connection that the host does not know: False, and nothing is changed. The
    checksums are repaired (RFC 1624 equation 3).
    """
    header_len = (packet[0] & 15) * 4
    fragment = int.from_bytes(packet[6:8], "big") & FRAGMENT
    whole = not fragment and len(packet) >= header_len + 8
    if not whole or packet[9] not in {ICMP, UDP}:
        return False
    former = bytes(packet[12:16])
    packet[12:16] = client4
    _replace_in_sum(packet, 10, former, client4)
    checksum_at = header_len + UDP_CHECKSUM_AT
    if packet[9] == UDP and any(packet[checksum_at : checksum_at + 2]):  # zero: none, RFC 768
        _replace_in_sum(packet, checksum_at, former, client4)
    return True


def flow_label(packet: memoryview, key: bytes) -> int:
    """Hash the flow of a checked packet to 20 bits, never 0 (RFC 6437 section 3)."""
    fragment = int.from_bytes(packet[6:8], "big") & FRAGMENT
    header_len = (packet[0] & 15) * 4
    flow = bytes(packet[9:10]) + bytes(packet[12:20])  # protocol, source, destination
    if packet[9] in PORTS_AT_ONCE and not fragment:
        flow += bytes(packet[header_len : header_len + 4])
    digest = blake2s(flow, digest_size=4, key=key).digest()
    return int.from_bytes(digest, "big") % 0xFFFFF + 1


def decapsulate(packet: memoryview, traffic_class: int, client4: bytes) -> tuple[Verdict, int]:
    """Judge what the tunnel brought, and carry the outer traffic class into it.

    Return the verdict and how many octets of `packet` are the IPv4 packet (the rest is padding).
    DSCP is copied from the outer header (RFC 6333 section 7.1), ECN as in RFC 6040 section 4.2.
    """
    if len(packet) < IPV4.size:
        return Verdict.IN_MALFORMED, 0
    version_ihl, tos, total_len, _, _, _, _, _, _, dst = IPV4.unpack_from(packet)
    header_len = (version_ihl & 15) * 4
    if version_ihl >> 4 != 4 or not IPV4.size <= header_len <= total_len <= len(packet):
        return Verdict.IN_MALFORMED, 0
    if _ones_sum(packet[:header_len]) != 0xFFFF:
        return Verdict.IN_CHECKSUM, total_len
    if dst != client4:
        return Verdict.IN_DESTINATION, total_len
    ecn, verdict = ECN_ON_EXIT[tos & 3][traffic_class & 3]
    if verdict is not _DROP:
        _set_tos(packet, traffic_class & 0xFC | ecn)
    return verdict, total_len


def partial_checksum_at(packet: memoryview) -> int:
    """Where the TCP header starts if its checksum covers the pseudo-header only, else 0.

    Generic receive offload joins tunnelled TCP segments before a raw socket sees them, and leaves
    the sum over the data to the network card (CHECKSUM_PARTIAL, Documentation/networking/
    checksum-offloads.rst). The host must then be told, or it drops the packet.
    """
    header_len = (packet[0] & 15) * 4
    fragment = int.from_bytes(packet[6:8], "big") & FRAGMENT
    if packet[9] != TCP or fragment or len(packet) < header_len + 20:
        return 0
    pseudo = bytes(packet[12:20]) + struct.pack("!HH", TCP, len(packet) - header_len)
    at = header_len + TCP_CHECKSUM_AT
    found = int.from_bytes(packet[at : at + 2], "big")
    return header_len if found == _ones_sum(pseudo) else 0


def _set_tos(packet: memoryview, tos: int) -> None:
    """Write the TOS octet and repair the header checksum (RFC 1624 equation 3)."""
    if packet[1] == tos:
        return
    checksum = int.from_bytes(packet[10:12], "big")
    total = (~checksum & 0xFFFF) + (~packet[1] & 0xFFFF) + tos
    total = (total & 0xFFFF) + (total >> 16)
    total = (total & 0xFFFF) + (total >> 16)
    packet[1] = tos
    packet[10:12] = (~total & 0xFFFF).to_bytes(2, "big")


def _replace_in_sum(packet: bytearray, at: int, former: bytes, new: bytes) -> None:
    """Repair the checksum at octet `at` after `former` became `new` (RFC 1624 equation 3)."""
    total = ~int.from_bytes(packet[at : at + 2], "big") & 0xFFFF
    total += sum(~word & 0xFFFF for word in struct.unpack("!2H", former))
    total += sum(struct.unpack("!2H", new))
    total = (total & 0xFFFF) + (total >> 16)
    total = (total & 0xFFFF) + (total >> 16)
    packet[at : at + 2] = (~total & 0xFFFF or 0xFFFF).to_bytes(2, "big")


def _ones_sum(octets: bytes | memoryview) -> int:
    """One's complement sum of the 16-bit words (RFC 1071); even lengths, not all zero."""
    words: tuple[int, ...] = struct.unpack(f"!{len(octets) // 2}H", octets)
    return (sum(words) - 1) % 0xFFFF + 1
