"""What clients were told, and whether the history says the same."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from itertools import pairwise
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Iterable
    from ipaddress import IPv4Address, IPv6Address
    from pathlib import Path

Told: TypeAlias = "tuple[float, IPv4Address, IPv6Address]"
"""When (Unix time) which address was promised to whom."""


def check_history(path: Path, told: Iterable[Told]) -> None:
    """The history names whoever was promised an address, and never two at the same time."""
    with closing(sqlite3.connect(path)) as db:
        holdings = db.execute(
            "SELECT ipv4, client6, since, until FROM history UNION ALL "
            "SELECT ipv4, client6, since, 1e99 FROM leases WHERE state BETWEEN 1 AND 3"
        ).fetchall()
    for at, ipv4, client6 in told:
        names = {row[1] for row in holdings if row[0] == int(ipv4) and row[2] <= at <= row[3]}
        assert client6.packed in names
    ordered = sorted((row[0], row[2], row[3]) for row in holdings)
    for (ipv4, _, until), (next_ipv4, since, _) in pairwise(ordered):
        assert ipv4 != next_ipv4 or until <= since
