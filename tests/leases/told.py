"""What clients were told, and whether the history says the same."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from itertools import pairwise
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Iterable
    from ipaddress import IPv6Address
    from pathlib import Path

    from dstmrouter.leases.lease import Share

Told: TypeAlias = "tuple[float, Share, IPv6Address]"
"""When (Unix time) which share was promised to whom."""


def check_history(path: Path, told: Iterable[Told]) -> None:
    """The history names whoever was promised a share, and never two at the same time."""
    with closing(sqlite3.connect(path)) as db:
        holdings = db.execute(
            "SELECT ipv4 * 65536 + psid, client6, since, until FROM history UNION ALL "
            "SELECT share, client6, since, 1e99 FROM leases WHERE since IS NOT NULL"
        ).fetchall()
    for at, (ipv4, psid), client6 in told:
        key = int(ipv4) * 65536 + psid
        names = {row[1] for row in holdings if row[0] == key and row[2] <= at <= row[3]}
        assert client6.packed in names
    ordered = sorted((row[0], row[2], row[3]) for row in holdings)
    for (share, _, until), (next_share, since, _) in pairwise(ordered):
        assert share != next_share or until <= since
