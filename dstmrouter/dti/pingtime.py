"""How long the kernel remembers the pings that it translates: 60 s at least (R28, RFC 5508 REQ-2).

nftables' objects for timeouts know TCP and UDP only (nft 1.0.6), so it is the setting of the whole
network namespace that is raised. Other pings of the host are then remembered as long, no more.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

import structlog

log = structlog.get_logger()

SETTING: Final = Path("/proc/sys/net/netfilter/nf_conntrack_icmp_timeout")
KERNELS_S: Final = 30  # Linux, net/netfilter/nf_conntrack_proto_icmp.c
LEAST_S: Final = 60


def present() -> int:
    """The setting, in seconds; the kernel's own default where connections are not tracked yet."""
    try:
        return int(SETTING.read_text())
    except (OSError, ValueError):
        return KERNELS_S


def lengthen() -> None:
    """Have it be long enough from now on; a line in the log if that cannot be."""
    if present() < LEAST_S:
        _write(LEAST_S, "pings are forgotten early")


def restore(former: int) -> None:
    """Set what was there before, unless somebody else has set something meanwhile."""
    if former < LEAST_S and present() == LEAST_S:
        _write(former, "setting not restored")


def _write(seconds: int, event: str) -> None:
    try:
        SETTING.write_text(str(seconds))
    except OSError as error:
        log.warning(event, setting=str(SETTING), reason=os.strerror(error.errno or 0))
