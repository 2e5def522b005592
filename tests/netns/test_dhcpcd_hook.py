"""Servers from DHCPv6: a real dhcpcd asks a real dnsmasq, and its hook tells the client."""

from __future__ import annotations

import shutil
from ipaddress import IPv6Address
from pathlib import Path
from typing import TYPE_CHECKING, Final

import pytest

from dstmrouter.config.client import ServersSection
from dstmrouter.daemon.client_servers import servers_of
from lab.netns import Lab, stop, veth, wait_until

if TYPE_CHECKING:
    from lab.netns import Namespace

HOOK: Final = Path(__file__).parents[2] / "conf" / "dhcpcd-hook.sh"
PROGRAMS: Final = ("dhcpcd", "dnsmasq")
SERVERS: Final = ("2001:db8:5::88", "2001:db8:5::89")
AFTR: Final = b"\4aftr\7example\3net\0"  # RFC 6334: a name as in DNS, RFC 1035 section 3.1
WITHIN_S: Final = 30.0  # router advertisements and DHCPv6 have delays by chance

pytestmark = [
    pytest.mark.netns,
    pytest.mark.skipif(
        any(shutil.which(program) is None for program in PROGRAMS),
        reason=f"needs {', '.join(PROGRAMS)} (tools/setup.sh installs them)",
    ),
]


def start_dnsmasq(space: Namespace, log: Path) -> None:
    """Router advertisements, and DHCPv6 that knows our options."""
    servers = ",".join(f"[{IPv6Address(server)}]" for server in SERVERS)
    options = (f"option6:88,{servers}", f"option6:64,{AFTR.hex(':')}")
    words = ["--keep-in-foreground", "--port=0", "--conf-file=/dev/null", "--pid-file="]
    words += ["--interface=eth0", "--enable-ra", "--leasefile-ro"]
    words += ["--dhcp-range=::,constructor:eth0,ra-stateless"]
    words += [f"--dhcp-option={option}" for option in options]
    with log.open("ab") as file:
        space.popen("dnsmasq", *words, stdout=file, stderr=file)


def test_dhcpcd_tells_the_servers(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    hosts, log = tmp_path / "hosts", tmp_path / "log"
    script, conf = tmp_path / "script", tmp_path / "dhcpcd.conf"
    script.write_text(f"#!/bin/sh\nexport DSTM_HOSTS={hosts}\n. {HOOK}\n")
    script.chmod(0o755)
    asked = [line for line in HOOK.read_text().splitlines() if line.startswith("#   ")]
    conf.write_text("\n".join(line.removeprefix("#   ") for line in asked) + "\nipv6only\n")
    with Lab() as lab:
        server, client = lab.namespace("server"), lab.namespace("client")
        veth((server, "eth0"), (client, "eth0"))
        server.sysctl({"net.ipv6.conf.all.forwarding": "1"})
        server.address("eth0", "2001:db8:9::1/64")
        start_dnsmasq(server, log)
        own = "mount -t tmpfs t /run; mount -t tmpfs t /var/lib/dhcpcd; exec dhcpcd"
        words = f"{own} --nobackground --debug -6 -f {conf} -c {script} eth0"
        with log.open("ab") as file:
            dhcpcd = client.popen("sh", "-c", words, stdout=file, stderr=file)
        try:
            wait_until(hosts.exists, "servers from DHCPv6", WITHIN_S)
        except Exception as error:
            error.add_note(log.read_text(errors="replace"))
            raise
        config = ServersSection(hosts=("last.example.net",), hosts_file=hosts)
        assert servers_of(config) == [*SERVERS, "aftr.example.net", "last.example.net"]
        stop(dhcpcd)
        wait_until(lambda: not hosts.exists(), "the hook of the end")
