"""Real clients over the `ip6tnl` of a user-mode Linux; the gateway is a mirrored TUN client."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from lab.netns import Lab, Namespace, veth
from lab.transfer import random_file, serve
from lab.uml import Uml
from tests.daemon.client_process import LEASE, MIRROR, PROGRAM, Process
from tests.dti.conftest import CLIENT4, CLIENT6, TEP4, TEP6

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

DOWNLOAD_LEN = 3_000_000  # octets

pytestmark = [pytest.mark.netns, pytest.mark.usefixtures("untraced")]


@pytest.fixture(scope="module")
def foreign_kernel(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Uml, Namespace]]:
    """A user-mode Linux as the client's host, and the gateway's namespace; every test tidies up."""
    with Lab() as lab:
        host, tep = lab.namespace("uml"), lab.namespace("tep")
        host.sysctl({"net.ipv6.conf.default.disable_ipv6": "1"})
        veth((host, "eth0"), (tep, "port6"))
        tep.address("port6", "2001:db8::1/64")
        tep.address("lo", f"{TEP6}/128")
        mirrored = Process(
            tep, tmp_path_factory.mktemp("run") / "gateway", *MIRROR, "--backend", "tun"
        )
        assert mirrored.is_up(), mirrored.said()
        with Uml(host, "eth0") as uml:
            uml.address(f"{CLIENT6}/64", "2001:db8::1")
            yield uml, tep


def in_uml(*options: object) -> str:
    return f"{PROGRAM} " + " ".join(str(word) for word in options)


def start_in_uml(uml: Uml, *options: object, before: str = "") -> None:
    """Start a client inside, and wait until it is up; its process id is in /run/pid."""
    command = in_uml("--static", *LEASE, "--route", "default", *options)
    uml.run(
        f"rm -f /run/log\n{before}{command} >/run/log 2>&1 & echo $! >/run/pid\n"
        "until grep -qs ' up ' /run/log; do\n"
        "  kill -0 $(cat /run/pid) || { cat /run/log; exit 1; }\n"
        "  sleep 0.1\n"
        "done",
        timeout_s=90,
    )


def uml_facts(uml: Uml) -> list[dict[str, Any]]:
    facts: list[dict[str, Any]] = json.loads(uml.run("ip -j -d address show"))
    return [link for link in facts if link.get("ifname") == "dti0"]


@pytest.mark.uml
@pytest.mark.parametrize("limit", [False, True])
def test_the_kernels_own_tunnel(
    foreign_kernel: tuple[Uml, Namespace], tmp_path: Path, limit: bool
) -> None:
    uml, tep = foreign_kernel
    start_in_uml(uml, *(["--encap-limit"] if limit else []))
    (link,) = uml_facts(uml)
    assert (link["linkinfo"]["info_kind"], link["mtu"], link["ifalias"]) == (
        "ip6tnl",
        1460,
        "dstm-client",
    )
    assert [a["local"] for a in link["addr_info"]] == [str(CLIENT4)]  # and no IPv6 address
    uml.run(f"ping -c 2 -i 0.2 {TEP4}")
    tep.run("ping", "-c", "2", "-i", "0.2", str(CLIENT4))
    files = tmp_path / "files"
    files.mkdir()
    digest = random_file(files / "data", DOWNLOAD_LEN)
    url = serve(tep, files, str(TEP4), 8080 + limit)
    assert digest in uml.run(f"curl -sSf --noproxy '*' {url}/data | sha256sum", timeout_s=60)
    status = json.loads(uml.run(in_uml("status", "--json"), timeout_s=60))
    assert status["kind"] == "ip6tnl"
    assert status["counters"]["in_delivered"]["octets"] > DOWNLOAD_LEN
    assert "client" in uml.run(in_uml("down"), timeout_s=60)
    assert uml_facts(uml) == []
    assert uml.run("ip -4 route; ls /run/dstm-client").strip() == ""


@pytest.mark.uml
def test_the_module_is_loaded_when_asked_for(foreign_kernel: tuple[Uml, Namespace]) -> None:
    uml, _ = foreign_kernel
    uml.run(
        "mkdir -p /run/root/lib/modules\n"
        "ln -s /usr/lib/uml/modules/$(uname -r) /run/root/lib/modules/\n"
        "rmmod ip6_tunnel"
    )
    start_in_uml(uml, "-load", before="export MODPROBE_OPTIONS='-d /run/root'\n")
    assert "kernel module is loaded" in uml.run("cat /run/log")
    assert [link["linkinfo"]["info_kind"] for link in uml_facts(uml)] == ["ip6tnl"]
    uml.run(in_uml("down"), timeout_s=60)


@pytest.mark.uml
def test_a_killed_clients_kernel_tunnel_is_repaired(
    foreign_kernel: tuple[Uml, Namespace],
) -> None:
    uml, _ = foreign_kernel
    start_in_uml(uml)
    uml.run("kill -9 $(cat /run/pid)")
    uml.run("ip link set dti0 mtu 1300; ip route add 198.51.100.0/24 dev dti0")
    uml.run("ip address add 192.0.2.99/32 dev dti0")
    assert len(uml_facts(uml)) == 1, "the kernel's tunnel outlives its client"
    start_in_uml(uml)
    (link,) = uml_facts(uml)
    assert link["mtu"] == 1460
    assert [a["local"] for a in link["addr_info"]] == [str(CLIENT4)]
    routes = json.loads(uml.run("ip -j -4 route show dev dti0"))
    assert sorted(r["dst"] for r in routes) == [str(TEP4), "default"]
    uml.run(f"ping -c 2 -i 0.2 {TEP4}")
    uml.run("kill -9 $(cat /run/pid)")
    assert "removed" in uml.run(in_uml("down"), timeout_s=60)
    assert uml_facts(uml) == []
    assert uml.run("ip -4 route; ls /run/dstm-client").strip() == ""
