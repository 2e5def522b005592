"""Another kernel as the client: `ip6tnl` in a user-mode Linux talks to host4 through the router.

Its module is an implementation of RFC 2473 that has nothing to do with ours. It sends with and
without the encapsulation limit option; what the router read is told by octets, not only packets.
"""

from __future__ import annotations

import contextlib
import dataclasses
import sys
from typing import TYPE_CHECKING, Any

import pytest

from lab.topology import HOST4, ROUTER6, TEP4, TEP6
from lab.transfer import download, random_file, serve
from lab.uml import Uml
from tests.netns.gateway import Gateway, no_ping, pings, program

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = [pytest.mark.netns, pytest.mark.uml, pytest.mark.usefixtures("untraced")]

CLIENT6 = "2001:db8:1::33"
ERROR_HEADERS = 28  # what an ICMP error puts before the packet that it quotes
PING_FRAME = 14 + 84  # Ethernet and an IPv4 packet of ping's default size
TUNNEL_HEADER = 40
LIMIT_OPTION = 8  # destination options header with the limit and padding, RFC 2473 section 4.1.1
SIZE = 10_000_000
MODES = {"auto": "native-copy", "packet_mmap": "packet_mmap"}


@dataclasses.dataclass(frozen=True)
class Interop:
    """Router, lease server and the foreign client with its lease."""

    gateway: Gateway
    guest: Uml
    ipv4: str
    files: Path
    digest: str
    url: str  # of the file on host4

    def verdicts(self) -> dict[str, tuple[int, int]]:
        """Packets and octets of every counter that is not zero."""
        rows = self.gateway.control.call("counters")["verdicts"]
        return {row["name"]: (row["packets"], row["octets"]) for row in rows if row["packets"]}

    @contextlib.contextmanager
    def grown(self) -> Iterator[dict[str, tuple[int, int]]]:
        """Fill the given dictionary with the counters that grew within the block."""
        before = self.verdicts()
        growth: dict[str, tuple[int, int]] = {}
        yield growth
        for name, (packets, octets) in self.verdicts().items():
            old = before.get(name, (0, 0))
            if packets != old[0]:
                growth[name] = packets - old[0], octets - old[1]

    def guest_pings(self, target: str, count: int = 5) -> int:
        """Pings from inside; how many were answered."""
        said = self.guest.run(f"ping -n -q -c {count} -i 0.1 -W 2 {target}", check=False)
        return int(said.partition(" received")[0].rpartition(" ")[2])

    def guest_fetches(self, url: str) -> str:
        """Download into the guest's memory; the SHA-256 of what came."""
        said = self.guest.run(
            f"curl -sS -f --noproxy '*' -m 60 -o /run/file {url}\n"
            "sha256sum /run/file\n"
            "rm /run/file",
            timeout_s=70,
        )
        return said.split()[0]


@pytest.fixture(scope="module", params=MODES)
def interop(request: pytest.FixtureRequest, tmp_path_factory: Any) -> Iterator[Interop]:
    files = tmp_path_factory.mktemp("served")
    digest = random_file(files / "file", SIZE)
    with Gateway(mode=request.param, with_server=True) as gateway:
        gateway.start_server()
        gateway.start_router()
        with Uml(*gateway.topology.attach("uml")) as guest:
            guest.address(f"{CLIENT6}/64", ROUTER6)
            # Before there is a tunnel: later it would ask a name server that does not answer.
            guest.run(
                f"{sys.executable} -m http.server --directory {files} 8080 >/dev/null 2>&1 &\n"
                "for try in $(seq 100); do curl -s -o /dev/null 127.0.0.1:8080/file && exit; done\n"
                "exit 1",
                timeout_s=60,
            )
            gateway.wait_until(lambda: following(gateway), "the router following the server")
            lease = gateway.lessor.call("lease.grant", client6=CLIENT6)
            url = f"{serve(gateway.topology.host4, files, HOST4)}/file"
            yield Interop(gateway, guest, lease["ipv4"], files, digest, url)


def following(gateway: Gateway) -> bool:
    return [feed["phase"] for feed in gateway.status()["feeds"]] == ["following"]


@pytest.fixture(params=[None, 4], ids=["no limit", "limit 4"])
def limit(interop: Interop, request: pytest.FixtureRequest) -> Iterator[int | None]:
    """Make the guest's tunnel, with or without the encapsulation limit option."""
    wished: int | None = request.param
    interop.guest.tunnel(interop.ipv4, CLIENT6, TEP6, encapsulation_limit=wished)
    interop.gateway.wait_until(
        lambda: interop.guest_pings(HOST4, 1), "neighbours that know each other"
    )
    yield wished
    interop.guest.run("ip link delete dti0")


def from_guest(count: int, limit: int | None) -> tuple[int, int]:
    """Packets and octets that the router reads for so many pings or answers of the guest."""
    option = 0 if limit is None else LIMIT_OPTION
    return count, count * (PING_FRAME + TUNNEL_HEADER + option)


def test_router_uses_the_wished_rings(interop: Interop) -> None:
    ports = interop.gateway.control.call("ports")["ports"]
    modes = {queue["mode"] for port in ports for queue in port["queues"]}
    assert modes == {MODES[interop.gateway.settings.mode]}


def test_pings_begun_by_either_side(interop: Interop, limit: int | None) -> None:
    with interop.grown() as growth:
        assert interop.guest_pings(HOST4) == 5
        assert pings(interop.gateway.topology.host4, interop.ipv4) == 5
    assert growth == {
        "DECAPSULATED": from_guest(10, limit),
        "ENCAPSULATED": (10, 10 * PING_FRAME),
    }


def test_tep4_answers(interop: Interop, limit: int | None) -> None:
    with interop.grown() as growth:
        assert interop.guest_pings(TEP4) == 5
    assert growth == {"ECHO_ANSWERED": from_guest(5, limit)}


def test_downloads_begun_by_either_side(
    interop: Interop, limit: int | None, tmp_path: Path
) -> None:
    mtu = 1460 if limit is None else 1460 - LIMIT_OPTION  # then nothing needs fragments
    assert f"mtu {mtu} " in interop.guest.run("ip link show dti0")
    with interop.grown() as growth:
        assert interop.guest_fetches(interop.url) == interop.digest
        from_guest = f"http://{interop.ipv4}:8080/file"
        got = download(interop.gateway.topology.host4, from_guest, tmp_path / "got")
        assert got == interop.digest
    assert growth.keys() == {"DECAPSULATED", "ENCAPSULATED"}  # no drops
    assert min(octets for _, octets in growth.values()) > SIZE


@pytest.mark.parametrize("option", ["", "--encap-limit"])
def test_dstm_client_uses_that_kernels_ip6tnl(interop: Interop, option: str) -> None:
    guest, run_dir = interop.guest, f"/run/client{option}"
    lease = f"--static --client4 {interop.ipv4} --client6 {CLIENT6} --tep6 {TEP6} --tep4 {TEP4}"
    words = [*program("client"), *lease.split(), "--route", "default", "--backend", "ip6tnl"]
    guest.run(
        f"{quoted(words)} {option} --run-dir {run_dir} >/run/log 2>&1 &\n"
        "echo $! >/run/pid\n"
        "for try in $(seq 300); do\n"
        "  ip -4 route show default | grep -q dti0 && exit\n"
        "  sleep 0.1\n"
        "done\n"
        "cat /run/log; exit 1",
        timeout_s=60,
    )
    limit = 4 if option else None
    with interop.grown() as growth:
        assert interop.guest_pings(HOST4) == 5
    assert growth == {"DECAPSULATED": from_guest(5, limit), "ENCAPSULATED": (5, 5 * PING_FRAME)}
    said = guest.run(
        "kill $(cat /run/pid)\n"
        "while [ -e /proc/$(cat /run/pid)/exe ]; do sleep 0.1; done\n"
        "ip link show; cat /run/log",
    )
    assert "dti0:" not in said
    assert "error" not in said.lower()


def quoted(words: list[str]) -> str:
    return " ".join(f"'{word}'" if "'" not in word else f'"{word}"' for word in words)


def test_an_ended_lease_is_no_longer_served(interop: Interop) -> None:
    guest, gateway = interop.guest, interop.gateway
    guest.tunnel(interop.ipv4, CLIENT6, TEP6)
    gateway.lessor.call("lease.release", ipv4=interop.ipv4)
    gateway.wait_until(lambda: interop.ipv4 not in gateway.bindings(), "end of the binding")
    with interop.grown() as growth:
        assert interop.guest_pings(HOST4) == 0
        assert no_ping(gateway.topology.host4, interop.ipv4)
    assert growth == {
        "DROP_SPOOF_ADDRESS": from_guest(5, None),
        "DROP_NO_BINDING": (5, 5 * PING_FRAME),
        "SENT_HOST_UNREACHABLE": (5, 5 * (PING_FRAME + ERROR_HEADERS)),
    }
