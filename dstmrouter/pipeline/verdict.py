"""Every outcome of a packet: the decision, its counter, and its text, in one table.

The number of a verdict is the index of its counters; it is part of no protocol and may change with
a version. Names starting with DROP_ end the packet. Names starting with KEPT_ mean that the frame
waits for others; what becomes of it is counted again then. Names starting with SENT_ count packets
of our own, those with UNSENT_ such that there was a reason for and that did not leave.
"""

from __future__ import annotations

from enum import IntEnum
from typing import Self


class Verdict(IntEnum):
    """What became of a packet; `help` is the text for people."""

    help: str

    def __new__(cls, value: int, text: str) -> Self:
        """Make a member out of its number and text."""
        member = int.__new__(cls, value)
        member._value_ = value
        member.help = text
        return member

    ENCAPSULATED = 0, "IPv4 packet sent to its client inside IPv6"
    FRAGMENTED = 1, "as ENCAPSULATED, in pieces: the first one; SENT_PIECE counts the others (R18)"
    DECAPSULATED = 2, "IPv4 packet of a client taken out of IPv6 and routed"
    DECAPSULATED_ECN_ODD = 3, "as DECAPSULATED, with an ECN pair that RFC 6040 4.2 calls unusual"
    HAIRPINNED = 4, "packet from client to client, sent back into the access network (R16)"
    ECHO_ANSWERED = 5, "echo request of a client to tep4, answered through the tunnel (R15)"

    KEPT_PIECE = 6, "IPv6 fragment that waits for others, or found them (R19)"
    KEPT_JOINED = 7, "IPv6 fragment that made a datagram whole: worked on again as one packet (R19)"
    KEPT_FRAGMENT = 8, "IPv4 fragment of a shared address that waits for the first piece (R20)"

    DROP_NOT_IP = 9, "neither IPv4 nor IPv6"
    DROP_VLAN = 10, "802.1Q tag missing or not that of the port"

    DROP_V4_MALFORMED = 11, "IPv4 version, header length or total length is wrong (R1)"
    DROP_V4_CHECKSUM = 12, "IPv4 header checksum is wrong (R1)"
    DROP_V4_MARTIAN = 13, "IPv4 source or destination that must not be on the Internet (R1)"
    DROP_NOT_POOL = 14, "IPv4 destination from outside that is in no pool of ours"
    DROP_NO_BINDING = 15, "no lease binds this IPv4 destination (R3, R30)"
    DROP_NO_PORT = 16, "shared address, and no port or identifier that says whose (R2, R25)"
    DROP_TTL = 17, "TTL used up; its source is told so (R4)"
    DROP_TOO_BIG = 18, "larger than the tunnel, DF set; its source is told the MTU (R18)"
    DROP_TOO_BIG_V4 = 19, "larger than the IPv4 link, DF set; its source is told the MTU (R18)"
    DROP_NO_FRAME = 20, "to be cut, and no frame was free for its pieces (R18)"
    DROP_CUT_BUDGET = 21, "to be cut, with IP options: more of them in one burst than are cut (R18)"

    DROP_V6_MALFORMED = 22, "IPv6 version or lengths are wrong (R11)"
    DROP_NOT_TEP6 = 23, "IPv6 destination is not one of our tunnel end points (R11)"
    DROP_NOT_TUNNEL = 24, "IPv6 payload is not IPv4, or too many extension headers (R11)"
    DROP_OUTER_FRAGMENT = 25, "IPv6 fragment from an address that is no client's (R19)"
    DROP_ICMPV6 = 26, "ICMPv6 error about a tunnel packet, passed on to the source of that (R22)"
    DROP_SPOOF_ADDRESS = 27, "inner IPv4 source is not leased (R12)"
    DROP_SPOOF_CLIENT = 28, "inner IPv4 source is leased to another IPv6 address (R12)"
    DROP_ECN_CE = 29, "congestion mark outside, no ECN inside (RFC 6040 4.2)"
    DROP_HAIRPIN_OFF = 30, "packet from client to client while hairpinning is off (R16)"

    DROP_PIECE_MALFORMED = 31, "IPv6 fragment without a whole header, or empty (R19)"
    DROP_PIECE_LENGTH = 32, "IPv6 fragment, not the last, whose length is no multiple of 8 (R19)"
    DROP_PIECE_END = 33, "IPv6 fragment that ends behind octet 65,535 (R19)"
    DROP_PIECE_CHAIN = 34, "first IPv6 fragment without all headers up to the IPv4 one (R19)"
    DROP_PIECE_LARGE = 35, "IPv6 fragment of a datagram that is larger than a frame (R19)"
    DROP_PIECE_DUPLICATE = 36, "IPv6 fragment that is there already, octet for octet (R19)"
    DROP_PIECE_OVERLAP = 37, "IPv6 fragment of a datagram whose pieces overlap (RFC 5722, R19)"
    DROP_PIECE_ECN = 38, "IPv6 fragment of a datagram with CE and Not-ECT (RFC 3168 5.3, R19)"
    DROP_PIECE_LIMIT = 39, "IPv6 fragment of a datagram in too many pieces (R19)"
    DROP_PIECE_EVICTED = 40, "IPv6 fragment that made room: low on reassembly memory (R19)"
    DROP_PIECE_TIMEOUT = 41, "IPv6 fragment whose datagram was not whole in time (R19)"
    DROP_PIECE_BUDGET = 42, "IPv6 fragment beyond what is kept or looked at in one burst (R19)"

    DROP_LOCAL = 43, "for one of the router's own IPv4 addresses, and no echo request to tep4"
    DROP_UNREACHABLE = 44, "no route, or the link of the route is down"
    DROP_NEIGHBOUR = 45, "the next hop's MAC address is not known yet; the kernel was asked"
    DROP_TX_FULL = 46, "the port could not take more packets"

    DROP_FILTER_IN = 47, "refused by filter_in of the port by which it came"
    DROP_FILTER_OUT = 48, "refused by filter_out of the port by which it would have left"

    DROP_SPOOF_PORT = 49, "source port of a shared address is not in this client's set (R12)"
    DROP_ICMP_DAMAGED = 50, "ICMP message of a shared address with a wrong checksum (R25)"
    DROP_FRAGMENT_SHARED = 51, "IPv4 fragment of a shared address without its first piece (R20)"
    DROP_FRAGMENT_ODD = 52, "IPv4 fragment of a shared address: overlap, tiny, twice (R20)"
    DROP_FRAGMENT_FLOOD = 53, "more IPv4 fragments of shared addresses than are looked at (R20)"
    DROP_ICMPV6_BAD = 54, "ICMPv6 error that is damaged or about no tunnel packet of ours (R22)"
    DROP_ICMPV6_NOTED = 55, "ICMPv6 error about a tunnel packet that nobody else is told of (R22)"
    DROP_ICMPV6_FLOOD = 56, "more ICMPv6 errors in one burst than are looked at (R22)"

    SENT_PIECE = 57, "piece of a packet that was cut, all but the first: IPv6 or IPv4 (R18)"
    SENT_TTL = 58, "ICMPv4 11/0 sent: time exceeded (R4)"
    SENT_NET_UNREACHABLE = 59, "ICMPv4 3/0 sent: no route (R15)"
    SENT_HOST_UNREACHABLE = 60, "ICMPv4 3/1 sent: no binding, or no way to the client (R3)"
    SENT_TOO_BIG = 61, "ICMPv4 3/4 sent: fragmentation needed (R18)"
    SENT_PROHIBITED = 62, "ICMPv4 3/13 sent: hairpinning is off (R16)"
    SENT_RELAYED_UNREACHABLE = 63, "ICMPv4 3/1 sent for an ICMPv6 error (R22)"
    SENT_RELAYED_TOO_BIG = 64, "ICMPv4 3/4 sent for an ICMPv6 packet too big (R22)"
    SENT_ICMPV6_SPOOF = 65, "ICMPv6 1/5 sent to who may not send what it sent (R12)"
    SENT_PIECE_TIMEOUT = 66, "ICMPv6 3/1 sent: a datagram of a client was not whole in time (R19)"
    SENT_PIECE_PROBLEM = 67, "ICMPv6 4/0 or 4/3 sent: a fragment of a client is wrong (R19)"
    UNSENT_ICMPV4 = 68, "ICMPv4 error not sent: rate limit, or no frame free (R26)"
    UNSENT_ICMPV6 = 69, "ICMPv6 error not sent: rate limit, or no frame free (R26)"
    UNSENT_NO_WAY = 70, "packet of our own not sent: no route, neighbour or binding"

    @property
    def forwarded(self) -> bool:
        """Whether the packet went on its way."""
        return not self.name.startswith(("DROP_", "KEPT_", "UNSENT_"))

    @property
    def kept(self) -> bool:
        """Whether the pipeline keeps the frame."""
        return self.name.startswith("KEPT_")
