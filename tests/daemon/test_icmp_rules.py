from __future__ import annotations

from ipaddress import IPv6Network

import pytest

from dstmrouter.config.router import IcmpSection
from dstmrouter.daemon.icmp_rules import icmp_rules
from dstmrouter.pipeline.rules import IcmpRules


def test_the_defaults_of_file_and_pipeline_are_the_same() -> None:
    assert icmp_rules(IcmpSection(), 1) == IcmpRules()


def test_every_setting_arrives() -> None:
    section = IcmpSection(
        generate_icmpv4_errors=False,
        generate_icmpv6_errors=False,
        host_unreachable=False,
        admin_prohibited=False,
        relay_icmpv6_errors=False,
        access_prefixes=(IPv6Network("2001:db8::/32"),),
        ttl=255,
        icmpv4_rate=7,
        icmpv6_rate=8,
        prefix_rate=3,
        prefix_burst=4,
        prefix_length4=32,
        prefix_length6=48,
    )
    assert icmp_rules(section, 1) == IcmpRules(
        generate_icmpv4=False,
        generate_icmpv6=False,
        host_unreachable=False,
        prohibited=False,
        relay=False,
        access_prefixes=(IPv6Network("2001:db8::/32"),),
        ttl=255,
        icmpv4_rate=7,
        icmpv6_rate=8,
        prefix_rate=3,
        prefix_burst=4,
        prefix_len4=32,
        prefix_len6=48,
    )


@pytest.mark.parametrize(("workers", "share"), [(1, 1000), (3, 334), (64, 16)])
def test_workers_share_the_rates_of_all_destinations(workers: int, share: int) -> None:
    rules = icmp_rules(IcmpSection(), workers)
    assert (rules.icmpv4_rate, rules.icmpv6_rate, rules.prefix_rate) == (share, share, 10)
