"""What the operator decides about tunnelling; constant while a worker runs."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from ipaddress import IPv4Address, IPv6Address

TUNNEL_HEADER_LEN: Final = 40  # RFC 2473 section 6.7: what IPv6 adds to a packet, in octets


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class TunnelRules:
    """Rules R5-R8, R11, R14-R17; `flow_key` is a secret of this run (RFC 6437 section 3)."""

    tep6: tuple[IPv6Address, ...]
    tep4: IPv4Address | None = None
    hop_limit: int = 64  # R6: the same for all packets, whatever their TTL
    dscp_uniform: bool = True  # R7: DSCP is copied both ways (RFC 6333 7.1); else 0 outside
    flow_label: int | None = None  # R8: None = keyed hash of the flow, else this constant
    flow_key: tuple[int, int] = (0x9E3779B97F4A7C15, 0xC2B2AE3D27D4EB4F)  # two 64-bit numbers
    hairpin: bool = True  # R16
    path_mtu: int = 1500  # R17: of the way tep6 -> client6, outer header included
