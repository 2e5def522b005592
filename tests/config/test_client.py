"""`client.toml`: defaults and checks between values."""

from __future__ import annotations

from ipaddress import IPv4Network
from pathlib import Path
from typing import Final

import pytest

from dstmrouter.config.client import PSID_LEN_MAX, ClientConfig
from dstmrouter.config.load import check_client, load_client
from dstmrouter.leases.sharing import LEN_MAX
from tests.config.documents import edited, problems

CONF = Path(__file__).parents[2] / "conf"
CLIENT: Final = """
[servers]
hosts = ["dstm.example.net"]
[tunnel]
"""


def test_the_example_shows_the_defaults(tmp_path: Path) -> None:
    (tmp_path / "c.toml").write_text(CLIENT)
    assert load_client(CONF / "client.toml") == load_client(tmp_path / "c.toml")


def test_what_is_commented_out_in_the_example_is_right(tmp_path: Path) -> None:
    lines = (CONF / "client.toml").read_text().splitlines()
    values = [line.removeprefix("# ") if " = " in line else line for line in lines]
    (tmp_path / "c.toml").write_text("\n".join(values))
    config = load_client(tmp_path / "c.toml")
    assert config.credentials.user == "alice"
    assert config.hooks.bind == Path("/etc/dstm/hooks/bind")
    assert config.tunnel.routes == (IPv4Network("0.0.0.0/0"),)


@pytest.mark.parametrize(
    ("old", "new", "line"),
    [
        (
            'hosts = ["dstm.example.net"]',
            "",
            "[servers] hosts is missing: expected at least one server, or hosts_file",
        ),
        (
            '"dstm.example.net"',
            '"2001:db8::1", "2001:DB8::1"',
            '[servers] hosts #2 = "2001:DB8::1": expected another value than #1 has',
        ),
        (
            '"dstm.example.net"',
            '"192.0.2.1"',
            '[servers] hosts #1 = "192.0.2.1": expected an IPv6 address or a DNS name',
        ),
        (
            "[tunnel]",
            'protocols = ["tsp", "tsp"]\n[tunnel]',
            '[servers] protocols #2 = "tsp": expected another value than #1 has',
        ),
        (
            "[tunnel]",
            'protocols = ["dhcp"]\n[tunnel]',
            '[servers] protocols #1 = "dhcp": expected '
            '"tsps", "tsp", "tsp-udp", "rpc" or "rpc-udp"',
        ),
        (
            "[tunnel]",
            '[tls]\nkey_file = "/k"\n[tunnel]',
            '[tls] key_file = "/k": expected certificate_file and key_file together',
        ),
        (
            "[tunnel]",
            '[credentials]\nuser = "a"\n[tunnel]',
            "[credentials] password_file is missing: expected user and password_file together",
        ),
        (
            "[tunnel]",
            '[tunnel]\nroutes = ["192.0.2.1/24"]',
            '[tunnel] routes #1 = "192.0.2.1/24": expected "default" or an IPv4 prefix '
            "without host bits, like 192.0.2.0/24",
        ),
        (
            "[tunnel]",
            '[tunnel]\nroutes = ["default", "0.0.0.0/0"]',
            '[tunnel] routes #2 = "0.0.0.0/0": expected another value than #1 has',
        ),
        (
            "[tunnel]",
            '[client]\nmode = "demand"\n[tunnel]\nbackend = "ip6tnl"',
            '[tunnel] backend = "ip6tnl": expected "tun" or "auto": '
            "the kernel tunnel holds no packet back",
        ),
        (
            "[tunnel]",
            'protocols = ["tsps", "tsp", "tsp-udp"]\n[lease]\npsid_len = 6\n[tunnel]',
            "[lease] psid_len = 6: expected 0, or rpc or rpc-udp in [servers] protocols: "
            "TSP has no words for port sets",
        ),
        (
            "[tunnel]",
            "[lease]\npsid_len = 13\n[tunnel]",
            "[lease] psid_len = 13: expected an integer between 0 and 12",
        ),
    ],
)
def test_values_that_do_not_go_together(tmp_path: Path, old: str, new: str, line: str) -> None:
    assert problems(load_client, tmp_path / "c.toml", edited(CLIENT, old, new)) == [line]


def test_a_document_is_checked_like_a_file() -> None:
    config = check_client(Path("x"), {"servers": {"hosts": ["a"]}})
    assert isinstance(config, ClientConfig)
    assert config.servers.hosts == ("a",)


def test_port_sets_are_asked_for_only_where_there_are_words_for_them() -> None:
    servers = {"hosts": ["a"], "protocols": ["tsp", "rpc-udp", "tsps", "rpc"]}
    config = check_client(Path("x"), {"servers": servers})
    assert config.protocols == config.servers.protocols
    config = check_client(Path("x"), {"servers": servers, "lease": {"psid_len": 1}})
    assert config.protocols == ("rpc-udp", "rpc")


def test_a_wish_for_a_port_set_is_one_that_a_server_can_grant() -> None:
    assert PSID_LEN_MAX == LEN_MAX
