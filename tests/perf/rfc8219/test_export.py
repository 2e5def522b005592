"""Exported configurations against their formats, as far as that can be without the programs."""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING, Any

import pytest

from dstmrouter.config.load import load_router
from lab.netns import Lab, veth
from perf.rfc8219 import main

if TYPE_CHECKING:
    from pathlib import Path

COUNT = 3
# snabb-softwire-v2.yang: the nodes that are used, and where each may stand.
SNABB = {
    "": {"softwire-config"},
    "softwire-config": {"instance", "external-interface", "internal-interface", "binding-table"},
    "instance": {"device", "queue"},
    "queue": {"id", "external-interface", "internal-interface"},
    "external-interface": {"device", "ip", "mac", "next-hop", "mtu", "mru"},
    "internal-interface": {"ip", "mac", "next-hop", "mtu", "mru"},
    "next-hop": {"mac"},
    "binding-table": {"softwire"},
    "softwire": {"ipv4", "psid", "b4-ipv6", "br-address", "port-set"},
    "port-set": {"psid-length"},
}
IP4, IP6, NAME, MAC = r"[\d.]+", r"[0-9a-f:]+", r"\S+", r"(?:[0-9a-f]{2}:){5}[0-9a-f]{2}"
# The short help of VPP's command line.
VPP = [
    rf"set interface mtu packet \d+ {NAME}",
    rf"set interface state {NAME} up",
    rf"set interface ip address {NAME} (?:{IP4}|{IP6})/\d+",
    rf"set ip neighbor {NAME} (?:{IP4}|{IP6}) {MAC} static",
    rf"map interface {NAME}",
    rf"ip route add (?:{IP4}|{IP6})/\d+ via (?:{IP4}|{IP6})",
    rf"map add domain ip4-pfx {IP4}/32 ip6-pfx {IP6}/128 ip6-src {IP6}"
    r" ea-bits-len 0 psid-offset 0 psid-len 0",
]


def exported(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    assert main(["export", *words, "--bindings", str(COUNT)]) == 0
    return capsys.readouterr().out


def yang_text(words: list[str]) -> list[tuple[str, Any]]:
    """Nodes of a block: a name with a value, or with nodes of its own."""
    nodes: list[tuple[str, Any]] = []
    while words and words[0] != "}":
        name = words.pop(0)
        value = words.pop(0)
        if value == "{":
            nodes.append((name, yang_text(words)))
            assert words.pop(0) == "}"
        else:
            assert words.pop(0) == ";"
            nodes.append((name, value))
    return nodes


def check_nodes(nodes: list[tuple[str, Any]], parent: str) -> None:
    for name, value in nodes:
        assert name in SNABB[parent], f"{name} in {parent}"
        if isinstance(value, list):
            check_nodes(value, name)


def test_snabb(capsys: pytest.CaptureFixture[str]) -> None:
    text = exported(capsys, "snabb", "--interfaces", "83:00.0", "83:00.1")
    words = re.findall(r"[{};]|[^\s{};]+", text)
    nodes = yang_text(words)
    assert words == []
    check_nodes(nodes, "")
    table = dict(nodes[0][1])["binding-table"]
    softwires = [dict(value) for _, value in table]
    assert [softwire["ipv4"] for softwire in softwires] == ["10.0.0.0", "10.0.0.1", "10.0.0.2"]
    assert softwires[2]["b4-ipv6"] == "2001:db8:1::a00:2"
    assert dict(softwires[0]["port-set"]) == {"psid-length": "0"}


def test_vpp(capsys: pytest.CaptureFixture[str]) -> None:
    lines = exported(capsys, "vpp", "--interfaces", "eth0", "eth1").splitlines()
    for line in lines:
        assert any(re.fullmatch(form, line) for form in VPP), line
    assert sum(line.startswith("map add domain") for line in lines) == COUNT


def test_dstm(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    file = tmp_path / "router.toml"
    file.write_text(exported(capsys, "dstm", "--interfaces", "eth0", "eth1"))
    config = load_router(file)
    assert [port.interface for port in config.port] == ["eth0", "eth1"]
    assert config.tunnel.mtu == 1540


@pytest.mark.netns
@pytest.mark.skipif(os.geteuid() != 0, reason="network namespaces need root")
def test_ip_takes_the_batch(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    batch = tmp_path / "kernel.batch"
    batch.write_text(exported(capsys, "kernel"))
    with Lab() as lab:
        space, other = lab.namespace("device"), lab.namespace("tester")
        for side in "64":
            veth((space, f"port{side}"), (other, f"far{side}"), mtu=1540)
        said = space.run("ip", "-force", "-batch", batch, check=False)
        tunnels = said.count("Unknown device type")  # of a kernel without ip6_tunnel
        assert tunnels in {0, COUNT}
        assert said.count("Error") == tunnels
        known = r"^(?!Error|Command failed|Cannot find device).+"
        complaints = re.findall(known, said, re.MULTILINE)
        assert complaints == []
        assert "2001:db8:1::/64 via 2001:db8:6::2" in space.run("ip", "-6", "route")


@pytest.mark.parametrize("count", ["0", "1048577"])
def test_more_bindings_than_addresses_are_refused(
    capsys: pytest.CaptureFixture[str], count: str
) -> None:
    assert main(["export", "vpp", "--bindings", count]) == 2
    assert "expected 1 to 1048576" in capsys.readouterr().err
