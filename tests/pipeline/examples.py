"""One frame for every verdict, as it comes in, each wrong in one thing only."""

from __future__ import annotations

import dataclasses
from typing import Final

from dstmrouter.pipeline.verdict import Verdict
from tests.pipeline import packets, worlds
from tests.pipeline.packets import ether, ipv4, ipv6, tunnelled

ECT0, CE = 0b10, 0b11
INNER: Final = ipv4(worlds.leased(1), packets.FAR)


@dataclasses.dataclass(frozen=True)
class Example:
    """`frame` arrives at `port` of worlds.world(**rules)."""

    frame: bytes
    port: int = worlds.ACCESS
    hairpin: bool = True


def about_ours(kind: int, code: int, rest: int, inner: bytes | None = None) -> bytes:
    """A frame with an ICMPv6 error about a tunnel packet that we may have sent to client 1."""
    client6, tep6 = worlds.CLIENTS6[1], worlds.TEP6
    quoted = ipv6(ipv4() if inner is None else inner, tep6, client6)
    return ether(packets.icmpv6(kind, code, rest, quoted, client6, tep6))


EXAMPLES: Final = {
    Verdict.ENCAPSULATED: Example(ether(ipv4()), worlds.INTERNET),
    Verdict.DECAPSULATED: Example(tunnelled()),
    Verdict.DECAPSULATED_ECN_ODD: Example(tunnelled(traffic_class=ECT0)),
    Verdict.HAIRPINNED: Example(tunnelled(dst=worlds.leased(3))),
    Verdict.ECHO_ANSWERED: Example(
        ether(ipv6(ipv4(worlds.leased(1), worlds.TEP4, packets.echo(), protocol=1)))
    ),
    Verdict.DROP_NOT_IP: Example(ether(ipv4(), ethertype=0x0806)),
    Verdict.DROP_VLAN: Example(ether(ipv4(), tci=5)),
    Verdict.DROP_V4_MALFORMED: Example(ether(ipv4(longer=1)), worlds.INTERNET),
    Verdict.DROP_V4_CHECKSUM: Example(ether(ipv4(sum_off=1)), worlds.INTERNET),
    Verdict.DROP_V4_MARTIAN: Example(ether(ipv4("127.0.0.1")), worlds.INTERNET),
    Verdict.DROP_NOT_POOL: Example(ether(ipv4(dst="8.8.8.8")), worlds.INTERNET),
    Verdict.DROP_NO_BINDING: Example(ether(ipv4(dst=worlds.leased(200))), worlds.INTERNET),
    Verdict.DROP_NO_PORT: Example(ether(ipv4(dst=worlds.leased(5), protocol=47)), worlds.INTERNET),
    Verdict.DROP_TTL: Example(ether(ipv4(ttl=1)), worlds.INTERNET),
    Verdict.DROP_TOO_BIG: Example(ether(ipv4(payload=bytes(1441))), worlds.INTERNET),
    Verdict.FRAGMENTED: Example(ether(ipv4(payload=bytes(1441), fragment=0)), worlds.INTERNET),
    Verdict.DROP_TOO_BIG_V4: Example(
        ether(ipv6(ipv4(worlds.leased(1), "10.1.0.1", bytes(581)), worlds.CLIENTS6[1]))
    ),
    Verdict.DROP_V6_MALFORMED: Example(ether(ipv6(INNER, longer=1))),
    Verdict.DROP_NOT_TEP6: Example(ether(ipv6(INNER, dst=worlds.CLIENTS6[2]))),
    Verdict.DROP_NOT_TUNNEL: Example(ether(ipv6(INNER, next_header=41))),
    Verdict.DROP_OUTER_FRAGMENT: Example(
        ether(ipv6(b"\4\0\0\1" + bytes(4) + INNER, worlds.CLIENTS6[8], next_header=44))
    ),
    Verdict.DROP_ICMPV6: Example(about_ours(2, 0, 1400)),
    Verdict.DROP_ICMPV6_BAD: Example(about_ours(2, 0, 1279)),
    Verdict.DROP_ICMPV6_NOTED: Example(about_ours(3, 1, 0)),
    Verdict.DROP_SPOOF_ADDRESS: Example(ether(ipv6(ipv4(worlds.leased(200), packets.FAR)))),
    Verdict.DROP_SPOOF_CLIENT: Example(ether(ipv6(INNER, worlds.CLIENTS6[2]))),
    Verdict.DROP_ECN_CE: Example(tunnelled(traffic_class=CE)),
    Verdict.DROP_HAIRPIN_OFF: Example(tunnelled(dst=worlds.leased(3)), hairpin=False),
    Verdict.DROP_LOCAL: Example(tunnelled(dst=worlds.TEP4)),
    Verdict.DROP_UNREACHABLE: Example(tunnelled(dst="10.4.0.1")),
    Verdict.DROP_NEIGHBOUR: Example(tunnelled(dst="10.2.0.1")),
    Verdict.DROP_SPOOF_PORT: Example(tunnelled(5, payload=packets.ports(1236, 53))),
    Verdict.DROP_ICMP_DAMAGED: Example(
        ether(ipv4(dst=worlds.leased(5), payload=packets.echo(ident=1232)[:-1], protocol=1)),
        worlds.INTERNET,
    ),
    Verdict.KEPT_FRAGMENT: Example(ether(ipv4(dst=worlds.leased(5), fragment=2)), worlds.INTERNET),
    Verdict.DROP_FRAGMENT_ODD: Example(
        ether(ipv4(dst=worlds.leased(5), fragment=1, protocol=6)), worlds.INTERNET
    ),
}
"""All but DROP_TX_FULL and DROP_ICMPV6_FLOOD, which are not in the packet, and packets of ours."""

SENT: Final = {
    Verdict.SENT_TTL: EXAMPLES[Verdict.DROP_TTL],
    Verdict.SENT_NET_UNREACHABLE: EXAMPLES[Verdict.DROP_UNREACHABLE],
    Verdict.SENT_HOST_UNREACHABLE: EXAMPLES[Verdict.DROP_NO_BINDING],
    Verdict.SENT_TOO_BIG: EXAMPLES[Verdict.DROP_TOO_BIG],
    Verdict.SENT_PROHIBITED: EXAMPLES[Verdict.DROP_HAIRPIN_OFF],
    Verdict.SENT_RELAYED_UNREACHABLE: Example(about_ours(1, 3, 0)),
    Verdict.SENT_RELAYED_TOO_BIG: EXAMPLES[Verdict.DROP_ICMPV6],
    Verdict.SENT_ICMPV6_SPOOF: EXAMPLES[Verdict.DROP_SPOOF_CLIENT],
}
"""What makes us send a packet of our own, by the verdict of that."""
