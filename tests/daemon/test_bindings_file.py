from __future__ import annotations

from ipaddress import IPv6Address
from typing import TYPE_CHECKING

import pytest

from dstmrouter.binding import address4, address6
from dstmrouter.daemon.bindings_file import read_bindings
from dstmrouter.errors import DstmError

if TYPE_CHECKING:
    from pathlib import Path

TEP6 = [IPv6Address("2001:db8:f::1"), IPv6Address("2001:db8:f::2")]
GOOD = "ipv4,client6,tep6\n203.0.113.1,2001:db8::1,\n203.0.113.2, 2001:db8::2 ,2001:db8:f::2\n"
SETS = b"ipv4,client6,psid_offset,psid_len,psid\n"


def write(path: Path, octets: bytes) -> Path:
    (path / "t.csv").write_bytes(octets)
    return path / "t.csv"


def test_bindings_are_read(tmp_path: Path) -> None:
    columns = read_bindings(write(tmp_path, GOOD.encode()), TEP6)
    assert [str(address4(ipv4)) for ipv4 in columns.ipv4] == ["203.0.113.1", "203.0.113.2"]
    assert [str(address6(words)) for words in columns.client6] == ["2001:db8::1", "2001:db8::2"]
    assert columns.tep.tolist() == [0, 1]


def test_column_of_tep6_may_be_left_out(tmp_path: Path) -> None:
    columns = read_bindings(write(tmp_path, b"client6,ipv4\n2001:db8::1,203.0.113.1\n"), TEP6)
    assert columns.tep.tolist() == [0]


def test_port_sets_are_read_and_empty_is_the_whole_address(tmp_path: Path) -> None:
    text = SETS + b"203.0.113.1,2001:db8::1,6,8,52\n203.0.113.2,2001:db8::2,,,\n"
    columns = read_bindings(write(tmp_path, text), TEP6)
    assert columns.psid_offset.tolist() == [6, 0]
    assert columns.psid_len.tolist() == [8, 0]
    assert columns.psid.tolist() == [52, 0]


@pytest.mark.parametrize(
    ("octets", "problem"),
    [
        (b"", ":1: no column ipv4"),
        (b"ipv4\n", ":1: no column client6"),
        (b"ipv4,client6\n203.0.113.256,2001:db8::1\n", ":2: '203.0.113.256': expected an IPv4"),
        (b"ipv4,client6\n203.0.113.1\n", ":2: None: expected an IPv6 address"),
        (b"ipv4,client6\n\n203.0.113.1,x\n", ":3: 'x': expected an IPv6 address"),
        (b"ipv4,client6,tep6\n203.0.113.1,2001:db8::1,::1\n", ":2: ::1: expected one of 2001"),
        (SETS + b"203.0.113.1,2001:db8::1,17,0,0\n", ":2: psid_offset = '17': expected a number"),
        (SETS + b"203.0.113.1,2001:db8::1,-1,0,0\n", ":2: psid_offset = '-1': expected a number"),
        (SETS + b"203.0.113.1,2001:db8::1,9,8,0\n", ":2: psid_offset + psid_len = 17: expected"),
        (SETS + b"203.0.113.1,2001:db8::1,0,8,256\n", ":2: psid = '256': expected a number from"),
        (
            SETS + b"203.0.113.1,2001:db8::1,0,0,1\n",
            ":2: psid = '1': expected a number from 0 to 0",
        ),
        (SETS + b"203.0.113.1,2001:db8::1," + b"9" * 5000, ":2: psid_offset = '999"),
        (b"ipv4,client6\n\xff\xfe,\n", ": 'utf-8' codec can't decode"),
        (b"ipv4,client6\n" + b"1" * 200_000 + b"\n", ": field larger than field limit"),
    ],
)
def test_wrong_file_is_one_line(tmp_path: Path, octets: bytes, problem: str) -> None:
    path = write(tmp_path, octets)
    with pytest.raises(DstmError) as caught:
        read_bindings(path, TEP6)
    assert str(caught.value).startswith(f"{path}{problem}")
    assert "\n" not in str(caught.value)
