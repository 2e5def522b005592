"""NAT for a shared address: the table of `dti.natrules` in the kernel, and the flows through it.

The table is the kernel's, not the process's: after a kill -9 the host keeps to its ports, and the
next start takes it away. What the kernel remembers of single flows is forgotten whenever address or
port set change (RFC 7596 section 5.1).
"""

from __future__ import annotations

import errno
import os
import re
import shutil
import socket
import subprocess
from typing import TYPE_CHECKING, Any, Final

import structlog
from pyroute2 import NetlinkError
from pyroute2.netlink.nfnetlink.nfctsocket import NFCTAttrTuple, NFCTSocket

from dstmrouter.dti import pingtime
from dstmrouter.dti.natrules import MARK, PINGS, QUOTABLE, comment_of, ruleset, table_of
from dstmrouter.errors import DstmError

if TYPE_CHECKING:
    from dstmrouter.dti.tunnel import Tunnel
    from dstmrouter.protocols.granted import PortSet

log = structlog.get_logger()

PROGRAM: Final = "nft"
SBIN: Final = "/usr/sbin:/sbin"  # not in every PATH
NFT_S: Final = 30.0
COMMENT: Final = re.compile(r'comment "(.*)"')
OURS: Final = re.compile(rf"{MARK} (\S+) \S+")
PING_S: Final = re.compile(rf"{PINGS} (\d+)")
GONE: Final = frozenset({errno.ENOENT})


def install(tunnel: Tunnel, ports: PortSet) -> None:
    """Translate from now on what leaves through `tunnel`; DstmError if that cannot be.

    It belongs before the address: no packet may leave untranslated.
    """
    if _program() is None:
        raise DstmError(
            f"{tunnel.client4} is shared, and our ports need NAT: "
            f"there is no program {PROGRAM} (Debian package nftables)"
        )
    listed = _listed(tunnel.name)
    former = _comment(listed)
    if former is not None and not OURS.fullmatch(former):
        raise DstmError(f"nftables table {table_of(tunnel.name)} exists and is not ours")
    done = _nft("-f", "-", text=ruleset(tunnel, ports, _ping_s(listed)))
    if done.returncode != 0:
        why = next((line for line in done.stderr.splitlines() if "Error" in line), done.stderr)
        raise DstmError(f"{tunnel.client4} is shared, and our ports need NAT: nft: {why.strip()}")
    pingtime.lengthen()
    if former is not None and former != comment_of(tunnel, ports):
        _forget_flows(former)


def remove(name: str) -> bool:
    """Translate no more for the interface `name`; whether there was a table of ours."""
    if not QUOTABLE.fullmatch(name) or _program() is None:
        return False
    listed = _listed(name)
    former = _comment(listed)
    if former is None or not OURS.fullmatch(former):
        return False
    done = _nft("delete", "table", "ip", table_of(name))
    if done.returncode != 0:
        raise DstmError(f"remove nftables table {table_of(name)}: {done.stderr.strip()}")
    pingtime.restore(_ping_s(listed))
    _forget_flows(former)
    return True


def _listed(name: str) -> str | None:
    """The table of `name` as nft shows it; None: there is no such table."""
    done = _nft("--terse", "list", "table", "ip", table_of(name))
    return done.stdout if done.returncode == 0 else None


def _comment(listed: str | None) -> str | None:
    """The comment of a table, perhaps empty."""
    if listed is None:
        return None
    found = COMMENT.search(listed)
    return "" if found is None else found[1]


def _ping_s(listed: str | None) -> int:
    """What the host's setting for pings was before there was this table or one before it."""
    found = PING_S.search(listed or "")
    return pingtime.present() if found is None else int(found[1])


def _forget_flows(comment: str) -> None:
    """Forget flows that were given the address in the `comment` of a former table."""
    found = OURS.fullmatch(comment)
    assert found is not None
    with NFCTSocket() as tracking:
        for entry in list(tracking.dump()):
            reply = entry.get_attr("CTA_TUPLE_REPLY")
            if reply.get_attr("CTA_TUPLE_IP").get_attr("CTA_IP_V4_DST") == found[1]:
                _forget(tracking, entry.get_attr("CTA_TUPLE_ORIG"))


def _forget(tracking: NFCTSocket, original: Any) -> None:
    flow = NFCTAttrTuple.from_netlink(socket.AF_INET, original)
    try:
        tracking.entry("del", tuple_orig=flow)
    except NetlinkError as error:
        if error.code not in GONE:
            log.warning("flow not forgotten", flow=str(flow), reason=os.strerror(error.code))


def _program() -> str | None:
    return shutil.which(PROGRAM, path=f"{os.environ.get('PATH', '')}:{SBIN}")


def _nft(*words: str, text: str | None = None) -> subprocess.CompletedProcess[str]:
    program = _program()
    assert program is not None
    try:
        return subprocess.run(
            [program, *words],
            input=text,
            stdin=subprocess.DEVNULL if text is None else None,
            capture_output=True,
            text=True,
            timeout=NFT_S,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise DstmError(f"nft {' '.join(words)}: {error}") from error
