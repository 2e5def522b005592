from __future__ import annotations

from ipaddress import IPv6Address
from typing import TYPE_CHECKING

import pytest

from dstmrouter.config.load import load_server
from dstmrouter.config.rpc import RpcSection
from tests.config.documents import SERVER, problems

if TYPE_CHECKING:
    from pathlib import Path


def test_without_the_section_there_is_no_rpc(tmp_path: Path) -> None:
    file = tmp_path / "server.toml"
    file.write_text(SERVER)
    assert load_server(file).rpc is None
    file.write_text(SERVER + "[rpc]\n")
    assert load_server(file).rpc == RpcSection(listen=(IPv6Address("::"),), port=3654)


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("listen = []", "listen = []: expected an array of 1 to 16 IPv6 addresses"),
        (
            'listen = ["fe80::1"]',
            'listen #1 = "fe80::1": expected an IPv6 address of this host, or :: (not link-local)',
        ),
        ('listen = ["::1", "0::1"]', 'listen #2 = "0::1": expected another value than #1 has'),
        (
            'listen = ["::1", "::2"]\nport = 0',
            "port = 0: expected a port from 1 on, for all addresses of listen",
        ),
        ("port = 65536", "port = 65536: expected an integer between 0 and 65535"),
        (
            "program = 0x40000000",
            "program = 1073741824: expected an integer between 536870912 and 1073741823",
        ),
        ("mtu = 1239", "mtu = 1239: expected an integer between 1240 and 65495 (octets)"),
        ('rpcbind = "on"', 'rpcbind = "on": expected "auto", "off" or "required"'),
        ("udp = 1", "udp = 1: expected true or false"),
        ("idle = 5", "idle = 5: unknown key, expected idle_s"),
    ],
)
def test_problems(tmp_path: Path, line: str, problem: str) -> None:
    found = problems(load_server, tmp_path / "server.toml", f"{SERVER}[rpc]\n{line}\n")
    assert found == [f"[rpc] {problem}"]
