"""Two real clients that ask for shares of one address over RPC; a real server and a real router."""

from __future__ import annotations

import contextlib
import signal
import socket
import subprocess
from typing import TYPE_CHECKING, Any, Final

import pytest

from dstmrouter.daemon.client_sources import client_id
from dstmrouter.daemon.client_status import boottime, read_status
from dstmrouter.protocols.granted import PortSet
from lab.topology import CLIENT1, CLIENT2, HOST4, ONLINK_INTERFACE, POOL, TEP6
from tests.netns.gateway import Gateway, program
from tests.netns.listener import Listener

if TYPE_CHECKING:
    from collections.abc import Iterator

    from lab.netns import Namespace

pytestmark = pytest.mark.netns

AWAY6: Final = "2001:db8:1::99"
PORT: Final = 4711
CONNECTIONS: Final = 20
PINGS: Final = 50
PING: Final = ("ping", "-n", "-q", "-c", str(PINGS), "-i", "0.1", "-W", "2")  # longer than a lease
LIFETIME_S: Final = 4
WITHIN_S: Final = 30.0
SHARES: Final = f'prefix = "{POOL}"\npsid_offset = 6\npsid_len = 8\n'
CHANGES: Final = {
    "[lease]": "[lease]\nmin_s = 1",
    f'prefix = "{POOL}"\n\n[tep]': f"{SHARES}\n[rpc]\n\n[tep]",
}


class Sharer:
    """A `dstm-client` process; `name` is that of its interface."""

    def __init__(self, gateway: Gateway, space: Namespace, name: str, lifetime_s: int) -> None:
        self.gateway = gateway
        self.space = space
        self.name = name
        self.run_dir = gateway.directory / name
        self.file = gateway.directory / f"{name}.toml"
        self.file.write_text(
            f'[client]\nrun_dir = "{self.run_dir}"\n'
            f'[servers]\nhosts = ["{TEP6}"]\n'
            f"[lease]\npsid_len = 6\nlifetime_s = {lifetime_s}\n"
            f'[tunnel]\nname = "{name}"\nbackend = "tun"\n'
        )
        self.process: subprocess.Popen[Any] | None = None

    def start(self) -> None:
        """Start it and wait until it is bound."""
        with self.gateway.log.open("ab") as log:
            words = program("client", "run", "-c", self.file)
            self.process = self.space.popen(*words, stdout=log, stderr=log)
        pid = self.process.pid
        wanted = {"state": "BOUND", "pid": pid}
        self.gateway.wait_until(lambda: wanted.items() <= self.status().items(), "a bound client")

    def end(self, number: signal.Signals = signal.SIGTERM) -> int:
        assert self.process is not None
        self.process.send_signal(number)
        return self.process.wait(20)

    def status(self) -> dict[str, Any]:
        return read_status(self.run_dir, self.name, boottime()) or {}

    def lease(self) -> dict[str, Any]:
        return self.status().get("lease") or {}

    @property
    def ports(self) -> PortSet:
        offset, length, psid = map(int, self.lease()["port_set"].split("/"))
        return PortSet(psid_offset=offset, psid_len=length, psid=psid)

    def has(self, port: int) -> bool:
        return any(first <= port <= last for first, last in self.ports.ranges)

    def connect(self) -> socket.socket:
        with self.space.entered():
            return socket.create_connection((HOST4, PORT), WITHIN_S)

    def tables(self) -> str:
        return self.space.run("nft", "list", "tables")


class Witness(Listener):
    """In the IPv4 host: who pings it, by the last octet of the ping."""

    def __init__(self, space: Namespace) -> None:
        with space.entered():
            super().__init__(socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP))
        self.seen: dict[int, set[tuple[str, int]]] = {}
        """Source address and identifier."""

    def heard(self, packet: bytes) -> None:
        source = socket.inet_ntoa(packet[12:16])
        if packet[20] == 8:
            ident = int.from_bytes(packet[24:26], "big")
            self.seen.setdefault(packet[-1], set()).add((source, ident))


@pytest.fixture
def gateway() -> Iterator[Gateway]:
    with Gateway(with_server=True, changes=CHANGES) as gateway:
        gateway.start_both()
        yield gateway


@contextlib.contextmanager
def sharing(gateway: Gateway, lifetime_s: int = 900) -> Iterator[tuple[Sharer, Sharer]]:
    """Two hosts; `lifetime_s` is what they ask for. At the end they give their shares back."""
    lab = gateway.topology
    one = Sharer(gateway, lab.client1, "dti0", lifetime_s)
    two = Sharer(gateway, lab.client2, "dti1", lifetime_s)
    for host in (one, two):
        host.start()
    yield one, two
    for host in (one, two):
        assert host.end() == 0
        assert host.tables() == ""
    gateway.wait_until(lambda: not gateway.bindings(), "no bindings")


def ports_of_connections(gateway: Gateway, hosts: tuple[Sharer, Sharer]) -> list[set[int]]:
    """Open connections in turn, all at the same time, and use them; what host4 sees of each."""
    seen: list[set[int]] = [set(), set()]
    with contextlib.ExitStack() as undo:
        with gateway.topology.host4.entered():
            server = undo.enter_context(socket.create_server((HOST4, PORT), backlog=100))
        server.settimeout(WITHIN_S)
        pairs = []
        for number in range(2 * CONNECTIONS):
            inside = undo.enter_context(hosts[number % 2].connect())
            outside, (source, port) = server.accept()
            undo.enter_context(outside).settimeout(WITHIN_S)
            assert source == hosts[0].lease()["client4"]
            seen[number % 2].add(port)
            pairs.append((inside, outside))
        for number, (inside, outside) in enumerate(pairs):
            inside.sendall(b"%03d" % number)
            assert outside.recv(3) == b"%03d" % number
            outside.sendall(b"%03d" % (number + 500))
            assert inside.recv(3) == b"%03d" % (number + 500)
    return seen


def test_two_clients_share_an_address_and_keep_their_ports_over_renewals(gateway: Gateway) -> None:
    with sharing(gateway, LIFETIME_S) as hosts:
        check_sharing(gateway, hosts)


def check_sharing(gateway: Gateway, hosts: tuple[Sharer, Sharer]) -> None:
    one, two = hosts
    sets = [host.ports for host in hosts]
    assert one.lease()["client4"] == two.lease()["client4"]
    assert {ports.psid_len for ports in sets} == {8}  # the wish was 6
    assert sets[0] != sets[1]
    assert [host.status()["protocol"] for host in hosts] == ["rpc", "rpc"]
    rows = gateway.lessor.call("leases")["leases"]
    told = {row["client6"]: row["psid"] for row in rows}
    assert told == {CLIENT1: sets[0].psid, CLIENT2: sets[1].psid}
    for host, seen in zip(hosts, ports_of_connections(gateway, hosts), strict=True):
        assert len(seen) == CONNECTIONS
        assert all(map(host.has, seen))
    with Witness(gateway.topology.host4) as witness:
        pinging = [
            host.space.popen(*PING, "-p", f"{number:02x}", HOST4, stdout=subprocess.PIPE)
            for number, host in enumerate(hosts)
        ]
        for process in pinging:
            said, _ = process.communicate(timeout=WITHIN_S)
            assert f" {PINGS} received" in said.decode()
    for number, host in enumerate(hosts):
        assert {source for source, _ in witness.seen[number]} == {host.lease()["client4"]}
        assert all(host.has(ident) for _, ident in witness.seen[number])
    assert [host.ports for host in hosts] == sets
    assert gateway.count("DROP_SPOOF_PORT") == 0


def test_a_killed_client_gets_its_share_again(gateway: Gateway) -> None:
    with sharing(gateway) as hosts:
        for host in hosts:
            before = host.lease()
            host.end(signal.SIGKILL)
            host.start()
            after = host.lease()
            assert (after["client4"], after["port_set"]) == (before["client4"], before["port_set"])
        for host, seen in zip(hosts, ports_of_connections(gateway, hosts), strict=True):
            assert all(map(host.has, seen))


@pytest.mark.skipif(not client_id("dti0"), reason="without a machine ID a client has no name")
def test_a_client_takes_its_share_along_to_another_ipv6_address(gateway: Gateway) -> None:
    with sharing(gateway) as hosts:
        one, two = hosts
        before, others = one.lease(), two.lease()
        one.space.address(ONLINK_INTERFACE, f"{AWAY6}/64")
        one.space.ip("address", "delete", f"{CLIENT1}/64", "dev", ONLINK_INTERFACE)
        gateway.wait_until(
            lambda: (one.lease().get("client6"), one.status()["state"]) == (AWAY6, "BOUND"),
            "a lease away",
        )
        after = one.lease()
        assert (after["client4"], after["port_set"]) == (before["client4"], before["port_set"])
        assert two.lease() == others
        for host, seen in zip(hosts, ports_of_connections(gateway, hosts), strict=True):
            assert all(map(host.has, seen))
