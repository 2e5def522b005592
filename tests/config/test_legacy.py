from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dstmrouter.config.fields import Range4
from dstmrouter.config.legacy import LegacyClient, LegacyServer, read_client, read_server
from dstmrouter.errors import ConfigError
from tests.config.documents import edited

if TYPE_CHECKING:
    from collections.abc import Callable

CONF = """\
# DSTM server, /etc/rpcdstmd.conf
default-lease-time 900;
tep6 2001:db8:402:2::1;   # our end
tep4 10.0.0.1;
subnet 10.0.1.0 netmask 255.255.255.0 { range 10.0.1.1 10.0.1.200; }
"""
SERVER_ARGS = "tsp=3545\nauthmode=anonymous\n"
CLIENT_ARGS = """\
tspserver=2001:db8:402:2::1
port=3545
authmode=anonymous
log: /var/log/dstmd.log
"""


def span(first: str, last: str) -> Range4:
    return Range4(IPv4Address(first), IPv4Address(last))


def refused(read: Callable[[Path], object], path: Path, text: str) -> list[str]:
    path.write_text(text)
    with pytest.raises(ConfigError) as caught:
        read(path)
    lines = str(caught.value).splitlines()
    assert all(line.startswith(f"{path}: ") for line in lines)
    return [line.removeprefix(f"{path}: ") for line in lines]


def conf_only(path: Path) -> LegacyServer:
    return read_server(path, None)


def test_the_files_that_are_known(tmp_path: Path) -> None:
    conf, args = tmp_path / "rpcdstmd.conf", tmp_path / "rpcdstmd.args"
    conf.write_text(CONF)
    args.write_text(SERVER_ARGS)
    assert read_server(conf, args) == LegacyServer(
        tep6=IPv6Address("2001:db8:402:2::1"),
        tep4=IPv4Address("10.0.0.1"),
        ranges=(span("10.0.1.1", "10.0.1.200"),),
        lease_s=900,
        tsp_port=3545,
    )
    args.write_text(CLIENT_ARGS)
    assert read_client(args) == LegacyClient(
        server="2001:db8:402:2::1", port=3545, log=Path("/var/log/dstmd.log")
    )


def test_several_subnets_and_ranges_in_any_layout(tmp_path: Path) -> None:
    more = """
    subnet 10.0.2.0
        netmask 255.255.255.0 # { a comment }
    {
        range 10.0.2.1 10.0.2.9; range 10.0.2.20;
    }
    subnet 10.0.3.0 netmask 255.255.255.0 {}
    """
    (tmp_path / "c").write_text(CONF + more)
    assert conf_only(tmp_path / "c").ranges == (
        span("10.0.1.1", "10.0.1.200"),
        span("10.0.2.1", "10.0.2.9"),
        span("10.0.2.20", "10.0.2.20"),
    )


@pytest.mark.parametrize(
    ("old", "new", "line"),
    [
        (
            "default-lease-time",
            "max-lease-time",
            "line 2: max-lease-time: unknown keyword, "
            "expected default-lease-time or tep6 or tep4 or subnet",
        ),
        (
            "default-lease-time 900",
            "default-lease-time 0",
            "line 2: default-lease-time 0: expected an integer between 1 and 4294967294 (seconds)",
        ),
        (
            "2001:db8:402:2::1",
            "fe80::1",
            "line 3: tep6 fe80::1: expected a global or unique local unicast IPv6 address "
            "(not link-local, multicast, loopback, unspecified or IPv4-mapped)",
        ),
        ("10.0.0.1", "224.0.0.1", "line 4: tep4 224.0.0.1: expected a unicast IPv4 address"),
        ("10.0.0.1;", "10.0.0.1 10.0.0.2;", "line 4: tep4: expected one value and ; behind it"),
        ("::1;", "::1", "line 3: tep6: expected one value and ; behind it"),
        ("tep4", "tep6 2001:db8::1; tep4", "line 4: tep6: given twice, before in line 3"),
        (
            "255.255.255.0",
            "0.0.0.255",
            "line 5: subnet 10.0.1.0 netmask 0.0.0.255: "
            "expected a network address without host bits, and its mask",
        ),
        (
            "netmask",
            "mask",
            "line 5: subnet: expected subnet ADDRESS netmask MASK { range ...; }",
        ),
        ("range", "rnge", "line 5: rnge: unknown keyword, expected range"),
        (
            "range 10.0.1.1 10.0.1.200",
            "range",
            "line 5: range: expected range FIRST LAST; or range ADDRESS;",
        ),
        (
            "10.0.1.200",
            "10.0.2.1",
            "line 5: range 10.0.1.1 10.0.2.1: expected addresses of subnet 10.0.1.0/24",
        ),
        (
            "range 10.0.1.1 10.0.1.200",
            "range 10.0.1.9 10.0.1.1",
            "line 5: range 10.0.1.9 10.0.1.1: expected the lower address first",
        ),
        (
            "200; }",
            "200; range 10.0.1.200; }",
            "line 5: range 10.0.1.200: overlaps with range 10.0.1.1-10.0.1.200",
        ),
        ("200; }", "200 }", "line 5: expected ; after 10.0.1.200"),
        ("200; }", "200;", "line 5: subnet: its { is never closed"),
        ("200; }", "200; } }", "line 5: } does not belong here"),
        ("{ range", "{ pool { range", "line 5: { does not belong here"),
        ("900;", "900;;", "line 2: expected a keyword before ; or {"),
        ("{ range 10.0.1.1 10.0.1.200; }", "{}", "range: missing"),
        ("tep4 10.0.0.1;", "", "tep4: missing"),
    ],
)
def test_what_is_wrong_is_one_line(tmp_path: Path, old: str, new: str, line: str) -> None:
    assert refused(conf_only, tmp_path / "c", edited(CONF, old, new)) == [line]


def test_all_that_is_wrong_is_told_at_once(tmp_path: Path) -> None:
    text = CONF.replace("tep6", "tep8").replace("range", "rnge")
    lines = refused(conf_only, tmp_path / "c", text)
    assert [line.partition(":")[0] for line in lines] == ["line 3", "line 5"]


@pytest.mark.parametrize(
    ("old", "new", "line"),
    [
        (
            "port=3545",
            "prot=3545",
            "line 2: prot: unknown keyword, expected tspserver or port or authmode or log",
        ),
        ("3545", "99999", "line 2: port 99999: expected an integer between 1 and 65535"),
        (
            "anonymous",
            "plain",
            "line 3: authmode plain: expected anonymous; others need a TOML file",
        ),
        ("/var", "var", "line 4: log var/log/dstmd.log: expected an absolute path"),
        (
            "2001:db8:402:2::1",
            "192.0.2.1",
            "line 1: tspserver 192.0.2.1: expected an IPv6 address or a DNS name",
        ),
        ("port=3545", "port=1\nport=2", "line 3: port: given twice, before in line 2"),
        ("port=3545", "port 3545", "line 2: port 3545: expected key=value or key: value"),
        ("tspserver=2001:db8:402:2::1", "", "tspserver: missing"),
    ],
)
def test_wrong_args(tmp_path: Path, old: str, new: str, line: str) -> None:
    assert refused(read_client, tmp_path / "a", edited(CLIENT_ARGS, old, new)) == [line]


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"/c: No such file or directory$"):
        conf_only(tmp_path / "c")
    (tmp_path / "a").write_bytes(b"port=\xff")
    with pytest.raises(ConfigError, match=r"/a: octet 5: expected UTF-8$"):
        read_client(tmp_path / "a")


@given(st.text(alphabet=st.sampled_from("tep46 subnet{}; range10.\n#"), max_size=60))
def test_any_text_is_read_or_refused(tmp_path_factory: pytest.TempPathFactory, text: str) -> None:
    path = tmp_path_factory.getbasetemp() / "any"
    path.write_text(text)
    for read in (conf_only, read_client):
        with pytest.raises(ConfigError):  # too little text for all that is needed
            read(path)
