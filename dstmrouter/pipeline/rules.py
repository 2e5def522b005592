"""What the operator decides about tunnelling; constant while a worker runs."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from ipaddress import IPv4Address, IPv6Address, IPv6Network

TUNNEL_HEADER_LEN: Final = 40  # RFC 2473 section 6.7: what IPv6 adds to a packet, in octets
LIMIT_OPTION_LEN: Final = 8  # section 4.1.1: and a header with the encapsulation limit


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class WorkerIdentity:
    """Which of the workers this is; `seed` is a secret of this start of it alone."""

    number: int = 0
    workers: int = 1
    seed: bytes = b""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class ReassemblyRules:
    """Limits of rule R19, for one worker."""

    timeout_s: int = 60  # RFC 8200 section 4.5
    frames: int = 1024  # that wait, of all datagrams together
    per_client: int = 16  # datagrams that wait, by source address
    per_datagram: int = 40  # pieces


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class IcmpRules:
    """Rules R22-R26: which errors we send, and how many. Rates are packets a second of a worker."""

    generate_icmpv4: bool = True  # of our own; without tep4 there are none
    generate_icmpv6: bool = True
    host_unreachable: bool = True  # R3: 3/1 where there is no binding
    prohibited: bool = True  # R16: 3/13 where hairpinning is off
    relay: bool = True  # R22: ICMPv6 errors to the IPv4 source
    access_prefixes: tuple[IPv6Network, ...] = ()  # R12: whose spoofers get ICMPv6 1/5
    ttl: int = 64  # of ICMPv4 errors; the hop limit of ICMPv6 ones is that of tunnels
    icmpv4_rate: int = 1000  # of each kind and direction
    icmpv6_rate: int = 1000  # of each kind
    prefix_rate: int = 10  # of each kind, to one destination prefix
    prefix_burst: int = 10
    prefix_len4: int = 24  # of destinations in the Internet; a client counts alone
    prefix_len6: int = 64
    burst_limit: int = 256  # errors made, and ICMPv6 errors looked at, for one burst of frames


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class TunnelRules:
    """Rules R5-R9, R11, R14-R19; `flow_key` is a secret of this run (RFC 6437 section 3)."""

    tep6: tuple[IPv6Address, ...]
    tep4: IPv4Address | None = None
    hop_limit: int = 64  # R6: the same for all packets, whatever their TTL
    dscp_uniform: bool = True  # R7: DSCP is copied both ways (RFC 6333 7.1); else 0 outside
    flow_label: int | None = None  # R8: None = keyed hash of the flow, else this constant
    flow_key: tuple[int, int] = (0x9E3779B97F4A7C15, 0xC2B2AE3D27D4EB4F)  # two 64-bit numbers
    hairpin: bool = True  # R16
    path_mtu: int = 1500  # R17: of the way tep6 -> client6, outer header included
    icmp: IcmpRules = IcmpRules()
    ecn_copied: bool = True  # R7: normal mode of RFC 6040 4.3; else compatibility mode
    encapsulation_limit: int | None = None  # R9: of RFC 2473 4.1.1; None = the option is not sent
    df_strict: bool = True  # R18: DF keeps packets from being fragmented, outside, too
    fragment_inner: bool = False  # R18: the IPv4 packet is cut where it may be, not the IPv6 one
    mss: int | None = None  # octets that SYNs may offer at most; None = whatever they like
    reassembly: ReassemblyRules = ReassemblyRules()

    @property
    def overhead(self) -> int:
        """Octets that encapsulation adds to a packet."""
        return TUNNEL_HEADER_LEN + (0 if self.encapsulation_limit is None else LIMIT_OPTION_LEN)

    @property
    def tunnel_mtu(self) -> int:
        """R17: the largest packet that fits a tunnel whole, in octets, where nothing was learnt."""
        return self.path_mtu - self.overhead
