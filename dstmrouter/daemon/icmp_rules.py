"""`[icmp]` of the configuration as workers want it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dstmrouter.pipeline.rules import IcmpRules

if TYPE_CHECKING:
    from dstmrouter.config.router import IcmpSection


def icmp_rules(icmp: IcmpSection, workers: int) -> IcmpRules:
    """The rules for each of so many workers, which share the rates of all destinations."""
    return IcmpRules(
        generate_icmpv4=icmp.generate_icmpv4_errors,
        generate_icmpv6=icmp.generate_icmpv6_errors,
        host_unreachable=icmp.host_unreachable,
        prohibited=icmp.admin_prohibited,
        relay=icmp.relay_icmpv6_errors,
        access_prefixes=icmp.access_prefixes,
        ttl=icmp.ttl,
        icmpv4_rate=-(-icmp.icmpv4_rate // workers),
        icmpv6_rate=-(-icmp.icmpv6_rate // workers),
        prefix_rate=icmp.prefix_rate,
        prefix_burst=icmp.prefix_burst,
        prefix_len4=icmp.prefix_length4,
        prefix_len6=icmp.prefix_length6,
    )
