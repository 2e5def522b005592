"""Another kernel's tunnel over paths of several MTUs: nothing is lost, and everybody is told.

The client is `ip6tnl` in a user-mode Linux. The link in the middle of its path takes less than the
links at both ends, and only ICMPv6 errors say so: to the client's kernel, and to the gateway, which
has to find out, to tell IPv4 hosts, and to send fragments where it may.
"""

from __future__ import annotations

import contextlib
import dataclasses
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import pytest

from lab.topology import FAR_PEER6, FAR_ROUTER6, HOST4, TEP4, TEP6
from lab.transfer import download, random_file, serve
from lab.uml import Uml
from tests.netns.gateway import Gateway

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = [pytest.mark.netns, pytest.mark.uml, pytest.mark.usefixtures("untraced")]
HERE: Final = Path(__file__).parent
LENT: Final = "203.0.113.1"
SIZE: Final = 10_000_000
TUNNEL_HEADER: Final = 40
ECHO_PORT: Final = 5000
PATHS: Final = {1280: "auto", 1400: "packet_mmap", 1500: "auto"}  # MTU in the middle: mode
BY_PATH, BY_INTERFACE = "0", "5"  # how datagrams are cut: see udp_ask.py
DATAGRAMS: Final = (1472, 4000, 65000)
EF_ECT0, AF21_ECT1, CE = 0xBA, 0x49, 0x03  # TOS octets


@dataclasses.dataclass(frozen=True)
class Path6:
    """A gateway and a foreign client behind a link of `mtu` octets."""

    gateway: Gateway
    guest: Uml
    mtu: int
    files: Path
    digest: str
    url: str  # of the file on host4

    @property
    def tunnel_mtu(self) -> int:
        return self.mtu - TUNNEL_HEADER

    def host4(self, *command: str | Path, timeout_s: float = 60) -> str:
        return self.gateway.topology.host4.run(*command, timeout_s=timeout_s, check=False)

    def inside(self, command: str, timeout_s: float = 60) -> str:
        return self.guest.run(command, timeout_s=timeout_s, check=False)


@pytest.fixture(scope="module", params=PATHS)
def path6(request: pytest.FixtureRequest, tmp_path_factory: Any) -> Iterator[Path6]:
    mtu = request.param
    files = tmp_path_factory.mktemp("served")
    digest = random_file(files / "file", SIZE)
    with Gateway(mode=PATHS[mtu]) as gateway:
        gateway.start_router()
        gateway.bind(LENT, FAR_PEER6)
        with Uml(*gateway.topology.attach_behind("uml", mtu)) as guest:
            guest.address(f"{FAR_PEER6}/64", FAR_ROUTER6)
            guest.run(
                f"{sys.executable} -m http.server --directory {files} 8080 >/dev/null 2>&1 &\n"
                f"{sys.executable} {HERE}/udp_echo.py {ECHO_PORT} /run/echo {BY_PATH} "
                ">/dev/null 2>&1 &\n"
                "for try in $(seq 100); do\n"
                "  curl -s -o /dev/null 127.0.0.1:8080/file && [ -e /run/echo ] && exit\n"
                "done\n"
                "exit 1",
                timeout_s=60,
            )
            guest.tunnel(LENT, FAR_PEER6, TEP6)
            host4 = gateway.topology.host4
            ready = files / "ready"
            host4.popen(sys.executable, HERE / "udp_echo.py", str(ECHO_PORT), ready, BY_INTERFACE)
            gateway.wait_until(ready.exists, "a server for datagrams")
            url = f"{serve(host4, files, HOST4)}/file"
            gateway.wait_until(lambda: guest_pings(guest, HOST4), "a way through")
            yield Path6(gateway, guest, mtu, files, digest, url)


def guest_pings(guest: Uml, target: str) -> bool:
    return " 1 received" in guest.run(f"ping -n -q -c 1 -W 1 {target}", check=False)


def test_tcp_to_the_client(path6: Path6) -> None:
    said = path6.inside(
        f"curl -sS -f --noproxy '*' -m 60 -o /run/file {path6.url} && sha256sum /run/file\n"
        "rm -f /run/file",
        timeout_s=70,
    )
    assert said.split()[0] == path6.digest


def test_tcp_from_the_client(path6: Path6, tmp_path: Path) -> None:
    url = f"http://{LENT}:8080/file"
    assert download(path6.gateway.topology.host4, url, tmp_path / "got") == path6.digest


def asked(path6: Path6, size: int, tos: int) -> tuple[list[int], list[int]]:
    """TOS octets that both sides saw of a datagram and its answer; begun by host4, by the client.

    What host4 sends is never smaller than its link allows: it is the gateway that has to cut it.
    """
    program = [sys.executable, f"{HERE}/udp_ask.py"]
    arguments = [str(ECHO_PORT), str(size), str(tos)]
    to_client = path6.host4(*program, LENT, *arguments, BY_INTERFACE)
    from_client = path6.inside(" ".join([*program, HOST4, *arguments, BY_PATH]))
    return [int(octet) for octet in to_client.split()], [
        int(octet) for octet in from_client.split()
    ]


@pytest.mark.parametrize("size", DATAGRAMS)
def test_datagrams_begun_by_either_side(path6: Path6, size: int) -> None:
    assert asked(path6, size, EF_ECT0) == ([EF_ECT0] * 2, [EF_ECT0] * 2)


@pytest.mark.parametrize("tos", [0, EF_ECT0, AF21_ECT1, CE])
def test_dscp_and_ecn_arrive(path6: Path6, tos: int) -> None:
    assert asked(path6, 100, tos) == ([tos] * 2, [tos] * 2)


def told_mtu(said: str) -> int:
    found = re.findall(r"mtu ?[=:] ?(\d+)", said)
    return int(found[-1]) if found else 0


def test_ping_with_df_is_told_the_mtu(path6: Path6) -> None:
    options = "-n -M do -c 5 -i 0.3 -W 1 -s 1472"
    path6.host4("ip", "route", "flush", "cache")
    assert told_mtu(path6.host4("ping", *options.split(), LENT)) == path6.tunnel_mtu
    assert told_mtu(path6.inside(f"ping {options} {HOST4}")) == path6.tunnel_mtu
    fits = f"-n -q -M do -c 3 -i 0.1 -W 1 -s {path6.tunnel_mtu - 28}"
    assert " 3 received" in path6.host4("ping", *fits.split(), LENT)
    assert " 3 received" in path6.inside(f"ping {fits} {HOST4}")


def hops(said: str) -> list[str]:
    return re.findall(r"^ *\d+ +(\S+)", said, re.MULTILINE)


def test_traceroute_shows_the_gateway(path6: Path6) -> None:
    options = "-n -q 1 -m 5 -w 2"
    assert hops(path6.host4("traceroute", *options.split(), LENT)) == [TEP4, LENT]
    assert hops(path6.inside(f"traceroute {options} {HOST4}")) == [TEP4, HOST4]


def test_no_frame_is_missing(path6: Path6) -> None:
    with contextlib.suppress(KeyError):
        assert [ledger["missing"] for ledger in path6.gateway.ledgers()] == [0]
