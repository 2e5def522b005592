"""What the configuration says about tunnelling, as the pipeline wants it."""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING, Final

from dstmrouter.daemon.icmp_rules import icmp_rules
from dstmrouter.pipeline.mss import default_mss
from dstmrouter.pipeline.rules import (
    LIMIT_OPTION_LEN,
    TUNNEL_HEADER_LEN,
    ReassemblyRules,
    TunnelRules,
    WorkerIdentity,
)

if TYPE_CHECKING:
    from dstmrouter.config.router import RouterConfig, TunnelConfig

_SEED_LEN: Final = 32  # octets


def tunnel_rules(config: RouterConfig) -> TunnelRules:
    """The rules for workers, with a fresh secret for flow labels."""
    tunnel = config.tunnel
    return TunnelRules(
        tep6=tuple(tunnel.tep6),
        tep4=tunnel.tep4,
        hop_limit=tunnel.hop_limit,
        dscp_uniform=tunnel.dscp == "uniform",
        ecn_copied=tunnel.ecn == "normal",
        flow_label=None if tunnel.flow_label == "hash" else tunnel.flow_label,
        flow_key=(secrets.randbits(64), secrets.randbits(64)),
        hairpin=tunnel.hairpin,
        path_mtu=tunnel.mtu,
        icmp=icmp_rules(config.icmp, config.router.workers),
        encapsulation_limit=tunnel.encapsulation_limit,
        df_strict=tunnel.df_policy == "strict",
        fragment_inner=tunnel.fragment == "inner",
        mss=_mss(tunnel),
        reassembly=ReassemblyRules(
            timeout_s=config.reassembly.timeout_s,
            frames=config.reassembly_frames,
            per_client=config.reassembly.per_client,
            per_datagram=config.reassembly.per_datagram,
        ),
    )


def _mss(tunnel: TunnelConfig) -> int | None:
    if tunnel.mss_clamp is True:
        option = tunnel.encapsulation_limit is not None
        return default_mss(tunnel.mtu - TUNNEL_HEADER_LEN - option * LIMIT_OPTION_LEN)
    return tunnel.mss_clamp or None


def identity(number: int, workers: int) -> WorkerIdentity:
    """Who a worker is that starts now."""
    return WorkerIdentity(number=number, workers=workers, seed=secrets.token_bytes(_SEED_LEN))
