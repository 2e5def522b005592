"""Every outcome of a packet: the decision, its counter, and its text, in one table.

The number of a verdict is the index of its counters; it is part of no protocol and may change with
a version. Names starting with DROP_ end the packet. A verdict whose text says "not yet" marks
traffic that a later version handles; until then it is dropped and counted here. Names starting with
KEPT_ mean that the frame waits for others; what becomes of it is counted again then. Names starting
with SENT_ count packets of our own, those with UNSENT_ packets of our own that there was a reason
for and that did not leave.
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
    DECAPSULATED = 1, "IPv4 packet of a client taken out of IPv6 and routed"
    DECAPSULATED_ECN_ODD = 2, "as DECAPSULATED, with an ECN pair that RFC 6040 4.2 calls unusual"
    HAIRPINNED = 3, "packet from client to client, sent back into the access network (R16)"
    ECHO_ANSWERED = 4, "echo request of a client to tep4, answered through the tunnel (R15)"

    DROP_NOT_IP = 5, "neither IPv4 nor IPv6"
    DROP_VLAN = 6, "802.1Q tag missing or not that of the port"

    DROP_V4_MALFORMED = 7, "IPv4 version, header length or total length is wrong (R1)"
    DROP_V4_CHECKSUM = 8, "IPv4 header checksum is wrong (R1)"
    DROP_V4_MARTIAN = 9, "IPv4 source or destination that must not be on the Internet (R1)"
    DROP_NOT_POOL = 10, "IPv4 destination from outside that is in no pool of ours"
    DROP_NO_BINDING = 11, "no lease binds this IPv4 destination (R3, R30)"
    DROP_NO_PORT = 12, "shared address, and no port or identifier that says whose (R2, R25)"
    DROP_TTL = 13, "TTL used up; its source is told so (R4)"
    DROP_TOO_BIG = 14, "larger than the tunnel, DF set; its source is told the MTU (R18)"
    DROP_FRAGMENT_OUTER = 15, "larger than the tunnel, DF clear; IPv6 fragments: not yet (R18)"
    DROP_TOO_BIG_V4 = 16, "larger than the IPv4 link; with DF its source is told the MTU (R18)"

    DROP_V6_MALFORMED = 17, "IPv6 version or lengths are wrong (R11)"
    DROP_NOT_TEP6 = 18, "IPv6 destination is not one of our tunnel end points (R11)"
    DROP_NOT_TUNNEL = 19, "IPv6 payload is not IPv4, or too many extension headers (R11)"
    DROP_OUTER_FRAGMENT = 20, "IPv6 fragment of a tunnel packet: not yet (R19)"
    DROP_ICMPV6 = 21, "ICMPv6 error about a tunnel packet, passed on to the source of that (R22)"
    DROP_SPOOF_ADDRESS = 22, "inner IPv4 source is not leased (R12)"
    DROP_SPOOF_CLIENT = 23, "inner IPv4 source is leased to another IPv6 address (R12)"
    DROP_ECN_CE = 24, "congestion mark outside, no ECN inside (RFC 6040 4.2)"
    DROP_HAIRPIN_OFF = 25, "packet from client to client while hairpinning is off (R16)"

    DROP_LOCAL = 26, "for one of the router's own IPv4 addresses, and no echo request to tep4"
    DROP_UNREACHABLE = 27, "no route, or the link of the route is down"
    DROP_NEIGHBOUR = 28, "the next hop's MAC address is not known yet; the kernel was asked"
    DROP_TX_FULL = 29, "the port could not take more packets"

    DROP_SPOOF_PORT = 30, "source port of a shared address is not in this client's set (R12)"
    DROP_ICMP_DAMAGED = 31, "ICMP message of a shared address with a wrong checksum (R25)"
    DROP_FRAGMENT_SHARED = 32, "IPv4 fragment of a shared address without its first piece (R20)"
    DROP_ICMPV6_BAD = 33, "ICMPv6 error that is damaged or about no tunnel packet of ours (R22)"
    DROP_ICMPV6_NOTED = 34, "ICMPv6 error about a tunnel packet that nobody else is told of (R22)"
    DROP_ICMPV6_FLOOD = 35, "more ICMPv6 errors in one burst than are looked at (R22)"

    SENT_TTL = 36, "ICMPv4 11/0 sent: time exceeded (R4)"
    SENT_NET_UNREACHABLE = 37, "ICMPv4 3/0 sent: no route (R15)"
    SENT_HOST_UNREACHABLE = 38, "ICMPv4 3/1 sent: no binding, or no way to the client (R3)"
    SENT_TOO_BIG = 39, "ICMPv4 3/4 sent: fragmentation needed (R18)"
    SENT_PROHIBITED = 40, "ICMPv4 3/13 sent: hairpinning is off (R16)"
    SENT_RELAYED_UNREACHABLE = 41, "ICMPv4 3/1 sent for an ICMPv6 error (R22)"
    SENT_RELAYED_TOO_BIG = 42, "ICMPv4 3/4 sent for an ICMPv6 packet too big (R22)"
    SENT_ICMPV6_SPOOF = 43, "ICMPv6 1/5 sent to who may not send what it sent (R12)"
    UNSENT_ICMPV4 = 44, "ICMPv4 error not sent: rate limit, or no frame free (R26)"
    UNSENT_ICMPV6 = 45, "ICMPv6 error not sent: rate limit, or no frame free (R26)"
    UNSENT_NO_WAY = 46, "packet of our own not sent: no route, neighbour or binding"

    DROP_FILTER_IN = 47, "refused by filter_in of the port by which it came"
    DROP_FILTER_OUT = 48, "refused by filter_out of the port by which it would have left"

    KEPT_FRAGMENT = 49, "IPv4 fragment of a shared address that waits for the first piece (R20)"
    DROP_FRAGMENT_ODD = 50, "IPv4 fragment of a shared address: overlap, tiny, twice (R20)"
    DROP_FRAGMENT_FLOOD = 51, "more IPv4 fragments of shared addresses than are looked at (R20)"

    @property
    def forwarded(self) -> bool:
        """Whether the packet went on its way."""
        return not self.name.startswith(("DROP_", "KEPT_", "UNSENT_"))

    @property
    def kept(self) -> bool:
        """Whether the pipeline keeps the frame."""
        return self.name.startswith("KEPT_")
