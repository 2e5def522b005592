from __future__ import annotations

import dataclasses
from collections import Counter
from typing import Any

import numpy as np

from tests.pipeline import worlds
from tests.pipeline.machine import NAMES, Machine
from tests.pipeline.packets import ether, ipv4, tunnelled

FEW = dataclasses.replace(
    worlds.ICMP, icmpv4_rate=300, prefix_rate=3, prefix_burst=10, burst_limit=64
)
NOW = worlds.NOW_S


def machine(**changes: Any) -> Machine:
    return Machine(worlds.world(icmp=dataclasses.replace(FEW, **changes)))


def expired(net: int = 0, host: int = 1) -> bytes:
    return ether(ipv4(f"198.18.{net}.{host}", ttl=1))


def sent(router: Machine, frames: list[bytes], now: int = NOW, port: int = 1) -> Counter[str]:
    """Errors by verdict, those not sent among them."""
    router.run(frames, port, now)
    found = Counter(fate.verdict for fate in router.made)
    for noted in router.outcome.noted:
        found[NAMES[noted.verdict]] += noted.packets
    return found


def test_r26_a_prefix_has_its_own_tokens() -> None:
    router = machine()
    burst = [expired(0, host) for host in range(1, 21)] + [expired(1)] * 4
    assert sent(router, burst) == {"SENT_TTL": 14, "UNSENT_ICMPV4": 10}
    assert sent(router, burst) == {"SENT_TTL": 4, "UNSENT_ICMPV4": 20}
    assert sent(router, burst, NOW + 1) == {"SENT_TTL": 7, "UNSENT_ICMPV4": 17}


def test_r26_all_prefixes_together_have_a_limit() -> None:
    router = machine()
    burst = [expired(net) for net in range(40)]
    assert sent(router, burst) == {"SENT_TTL": 30, "UNSENT_ICMPV4": 10}
    assert sent(router, burst) == {"UNSENT_ICMPV4": 40}
    assert sent(router, burst, NOW + 1) == {"SENT_TTL": 30, "UNSENT_ICMPV4": 10}


def test_r26_neither_another_kind_nor_the_other_side_is_starved() -> None:
    router = machine()
    assert sent(router, [expired(net) for net in range(40)])["SENT_TTL"] == 30
    unbound = [ether(ipv4(f"198.18.{net}.1", worlds.leased(200))) for net in range(40)]
    assert sent(router, unbound)["SENT_HOST_UNREACHABLE"] == 30
    assert sent(router, [tunnelled(ttl=1)], port=worlds.ACCESS) == {"SENT_TTL": 1}


def test_r26_clients_have_tokens_of_their_own_each() -> None:
    router = machine(prefix_burst=1)
    burst = [tunnelled(1, ttl=1)] * 3 + [tunnelled(3, ttl=1, dst=worlds.leased(1))]
    burst[3] = burst[3][: 14 + 24] + worlds.TEP6.packed + burst[3][14 + 40 :]
    assert sent(router, burst, port=worlds.ACCESS) == {"SENT_TTL": 2, "UNSENT_ICMPV4": 2}


def test_r26_the_length_of_prefixes_is_the_operators() -> None:
    burst = [expired(net) for net in range(20)]
    assert sent(machine(prefix_len4=16), burst)["SENT_TTL"] == 10
    hosts = [expired(0, host) for host in range(1, 21)]
    assert sent(machine(prefix_len4=32), hosts)["SENT_TTL"] == 20


def test_no_more_than_so_many_errors_for_one_burst() -> None:
    router = machine(burst_limit=5)
    assert sent(router, [expired(net) for net in range(9)]) == {"SENT_TTL": 5, "UNSENT_ICMPV4": 4}


def test_errors_need_frames_and_without_them_nothing_breaks() -> None:
    router = machine()
    taken = router.spare.take(len(router.spare) - 2)
    burst = [expired(net) for net in range(5)]
    assert sent(router, burst) == {"SENT_TTL": 2, "UNSENT_ICMPV4": 3}
    router.spare.take(2)
    assert sent(router, burst) == {"UNSENT_ICMPV4": 5}
    router.spare.give(taken)


def test_r24_what_is_not_told_costs_no_token() -> None:
    router = machine()
    pieces = [ether(ipv4("198.18.0.1", ttl=1, fragment=9))] * 20
    assert sent(router, pieces) == {}
    assert sent(router, [expired()] * 20)["SENT_TTL"] == 10


def test_all_frames_of_errors_come_back() -> None:
    router = machine()
    free = len(router.spare)
    silent = [ether(ipv4("10.2.0.1", ttl=1)), ether(ipv4("10.4.0.1", ttl=1))]
    assert sent(router, [*silent, expired()]) == {"SENT_TTL": 1, "UNSENT_NO_WAY": 2}
    assert len(router.spare) == free
    assert len(set(np.array(router.spare.free).tolist())) == free
