from __future__ import annotations

from ipaddress import IPv4Address, IPv4Network, IPv6Address
from typing import TYPE_CHECKING

import pytest

from dstmrouter.daemon.bindings_file import read_bindings
from dstmrouter.daemon.replay import Side, build_tables, replay
from dstmrouter.errors import DstmError
from dstmrouter.pipeline.bindings import RowKind
from dstmrouter.pipeline.rules import TunnelRules

if TYPE_CHECKING:
    from pathlib import Path

TEP6 = [IPv6Address("2001:db8:f::1"), IPv6Address("2001:db8:f::2")]
RULES = TunnelRules(tep6=tuple(TEP6), tep4=IPv4Address("192.0.2.1"))
POOLS = [IPv4Network("203.0.113.0/24")]
SIDES = [
    Side(read=None, write=None, mac=bytes([2, 0, 0, 0, n, 1]), next_mac=bytes([2, 0, 0, 0, n, 2]))
    for n in (4, 6)
]
GOOD = "ipv4,client6,tep6\n203.0.113.1,2001:db8::1,\n203.0.113.2, 2001:db8::2 ,2001:db8:f::2\n"


def write(path: Path, octets: bytes) -> Path:
    (path / "t.csv").write_bytes(octets)
    return path / "t.csv"


def test_tables_know_bound_unbound_and_foreign_addresses(tmp_path: Path) -> None:
    columns = read_bindings(write(tmp_path, GOOD.encode()), TEP6)
    bindings = build_tables(RULES, POOLS, columns, SIDES).bindings
    asked = columns.ipv4[[0, 1, 1]]
    asked[2] += 1
    rows = bindings.look_up(asked)
    assert rows["kind"].tolist() == [RowKind.BOUND, RowKind.BOUND, RowKind.UNBOUND]
    assert rows["tep"].tolist()[:2] == [0, 1]


def test_refused_bindings_are_an_error(tmp_path: Path) -> None:
    text = b"ipv4,client6\n198.51.100.1,2001:db8::1\n203.0.113.1,fe80::1\n"
    columns = read_bindings(write(tmp_path, text), TEP6)
    with pytest.raises(DstmError, match=r"1 x address in no pool.*1 x client6 is not a usable"):
        build_tables(RULES, POOLS, columns, SIDES)


def test_nothing_in_is_nothing_counted(tmp_path: Path) -> None:
    columns = read_bindings(write(tmp_path, b"ipv4,client6\n"), TEP6)
    assert replay(RULES, POOLS, columns, SIDES) == {}
