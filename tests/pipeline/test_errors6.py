from __future__ import annotations

import dataclasses
from collections import Counter
from ipaddress import IPv6Address, IPv6Network
from typing import Any

from tests.pipeline import packets, worlds
from tests.pipeline.machine import NAMES, Machine
from tests.pipeline.packets import ether, ipv4, ipv6

INNER = ipv4(worlds.leased(200), packets.FAR)
FEW = dataclasses.replace(
    worlds.ICMP,
    access_prefixes=(IPv6Network("2001:db8::/32"),),
    icmpv6_rate=300,
    prefix_rate=3,
    prefix_burst=10,
    burst_limit=64,
)


def machine(**changes: Any) -> Machine:
    return Machine(worlds.world(icmp=dataclasses.replace(FEW, **changes)))


def spoofed(site: int, net: int, host: int) -> bytes:
    return ether(ipv6(INNER, IPv6Address(f"2001:db8:{site:x}:{net:x}::{host + 1:x}")))


def sent(router: Machine, frames: list[bytes], now: int = worlds.NOW_S) -> Counter[str]:
    router.run(frames, worlds.ACCESS, now)
    found = Counter(fate.verdict for fate in router.made)
    for noted in router.outcome.noted:
        found[NAMES[noted.verdict]] += noted.packets
    return found


def test_r26_a_prefix_has_its_own_tokens() -> None:
    router = machine()
    burst = [spoofed(1, 1, host) for host in range(12)] + [spoofed(1, 2, 0)]
    assert sent(router, burst) == {"SENT_ICMPV6_SPOOF": 11, "UNSENT_ICMPV6": 2}
    assert sent(router, burst, worlds.NOW_S + 1) == {"SENT_ICMPV6_SPOOF": 4, "UNSENT_ICMPV6": 9}


def test_r26_the_length_of_prefixes_is_the_operators() -> None:
    burst = [spoofed(1, net, 0) for net in range(20)]
    assert sent(machine(prefix_len6=48), burst)["SENT_ICMPV6_SPOOF"] == 10
    assert sent(machine(prefix_len6=64), burst)["SENT_ICMPV6_SPOOF"] == 20


def test_r26_all_prefixes_together_have_a_limit() -> None:
    router = machine()
    burst = [spoofed(site, 1, 0) for site in range(40)]
    assert sent(router, burst) == {"SENT_ICMPV6_SPOOF": 30, "UNSENT_ICMPV6": 10}
    assert sent(router, burst) == {"UNSENT_ICMPV6": 40}


def test_r26_icmpv4_does_not_starve_icmpv6() -> None:
    router = machine(icmpv4_rate=1)
    expired = [ether(ipv4(f"198.18.{net}.1", ttl=1)) for net in range(9)]
    assert sent(router, expired) == {"SENT_TTL": 1, "UNSENT_ICMPV4": 8}
    assert sent(router, [spoofed(1, 1, 0)]) == {"SENT_ICMPV6_SPOOF": 1}


def test_errors_need_frames_and_without_them_nothing_breaks() -> None:
    router = machine()
    router.spare.take(len(router.spare))
    assert sent(router, [spoofed(1, 1, 0)]) == {"UNSENT_ICMPV6": 1}


def test_r24_what_may_not_be_told_costs_no_token() -> None:
    router = machine(prefix_burst=1)
    group = spoofed(1, 1, 0)
    group = group[:6] + b"\x01" + group[7:]
    assert sent(router, [group] * 3) == {}
    assert sent(router, [spoofed(1, 1, 0)]) == {"SENT_ICMPV6_SPOOF": 1}
