"""`dstm-client` with a real dstm-server and a real dstm-router."""

from __future__ import annotations

import json
import signal
from typing import TYPE_CHECKING, Any

import pytest

from dstmrouter.daemon.client_status import boottime, read_status
from dstmrouter.daemon.tsp_users import new_keys, save_users
from lab.netns import interfaces
from lab.topology import CLIENT1, HOST4, ONLINK_INTERFACE, TEP4, TEP6
from lab.transfer import download, random_file, serve
from tests.daemon.certificates import Authority
from tests.netns.echoes import Form
from tests.netns.gateway import Gateway, pings, program

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Iterator
    from pathlib import Path

    from lab.netns import Namespace

pytestmark = [pytest.mark.netns, pytest.mark.usefixtures("untraced")]

LEASES = '[rpc]\n[tsp]\nmechanisms = ["ANONYMOUS"]\n'
AWAY6 = "2001:db8:1::99"


class Client:
    """A `dstm-client` process in `client1`."""

    def __init__(self, gateway: Gateway, **tables: str) -> None:
        self.gateway = gateway
        self.space: Namespace = gateway.topology.client1
        self.run_dir: Path = gateway.directory / "client"
        self.file = gateway.directory / "client.toml"
        made = {
            "client": f'run_dir = "{self.run_dir}"\n',
            "servers": f'hosts = ["{TEP6}"]\ntimeout_s = 5\n',
            "tunnel": 'backend = "tun"\n',
            "keepalive": "interval_s = 0.2\nreply_s = 2\n",
        }
        for name, text in tables.items():
            made[name] = made.get(name, "") + text
        self.file.write_text("".join(f"[{name}]\n{text}" for name, text in made.items()))
        self.process: subprocess.Popen[Any] | None = None

    def start(self, *options: str | Path) -> None:
        with self.gateway.log.open("ab") as log:
            words = program("client", "run", *(options or ("-c", self.file)))
            self.process = self.space.popen(*words, stdout=log, stderr=log)

    def end(self, number: signal.Signals = signal.SIGTERM) -> int:
        assert self.process is not None
        self.process.send_signal(number)
        return self.process.wait(20)

    def status(self) -> dict[str, Any]:
        """What it has written down; nothing before it has started."""
        return read_status(self.run_dir, "dti0", boottime()) or {}

    def told(self) -> dict[str, Any]:
        """What `dstm-client status` says."""
        words = program("client", "status", "--json", "--run-dir", self.run_dir)
        facts: dict[str, Any] = json.loads(self.space.run(*words))
        return facts

    def client4(self) -> str | None:
        lease = self.status().get("lease")
        return lease["client4"] if lease else None

    def until_state(self, name: str) -> None:
        assert self.process is not None
        wanted = {"state": name, "pid": self.process.pid}
        self.gateway.wait_until(lambda: wanted.items() <= self.status().items(), f"client {name}")


@pytest.fixture
def gateway() -> Iterator[Gateway]:
    with Gateway(with_server=True, changes={"[tep]": f"{LEASES}[tep]"}) as gateway:
        gateway.start_both()
        yield gateway


def leases(gateway: Gateway) -> dict[str, str]:
    """State of every address that is not free."""
    rows = gateway.lessor.call("leases")["leases"]
    return {row["ipv4"]: row["state"] for row in rows}


def allow_short_leases(gateway: Gateway) -> None:
    """Restart the server, without TSP, which counts in minutes."""
    text = gateway.server_toml.read_text().replace("[lease]", "[lease]\nmin_s = 1")
    gateway.server_toml.write_text(text.replace(LEASES, "[rpc]\n"))
    gateway.kill(gateway.server)
    gateway.start_server()


def with_users_and_tls(gateway: Gateway) -> dict[str, str]:
    """Make files for the server, name them in its configuration; the tables of a client."""
    home = gateway.directory
    authority = Authority(home)
    certificate, key = authority.sign("server", f"IP:{TEP6}")
    users, password = home / "users", home / "password"
    save_users(users, {"alice": new_keys("alice", "secret", digest_realm=None)})
    password.write_text("secret\n")
    password.chmod(0o600)
    tsp = f'[tsp]\nusers_file = "{users}"\n'
    tls = f'[tsp.tls]\ncertificate = "{certificate}"\nkey = "{key}"\n'
    text = gateway.server_toml.read_text()
    gateway.server_toml.write_text(text.replace(LEASES, f"[rpc]\n{tsp}{tls}"))
    return {
        "credentials": f'user = "alice"\npassword_file = "{password}"\n',
        "tls": f'ca_file = "{authority.certificate}"\n',
    }


def test_a_host_gets_ipv4_and_gives_it_back_in_every_protocol(gateway: Gateway) -> None:
    tables = with_users_and_tls(gateway)
    gateway.kill(gateway.server)
    gateway.start_server()
    for protocol in ("tsps", "tsp", "tsp-udp", "rpc", "rpc-udp"):
        client = Client(gateway, servers=f'protocols = ["{protocol}"]\n', **tables)
        client.start()
        client.until_state("BOUND")
        status = client.status()
        assert (status["server"], status["protocol"]) == (TEP6, protocol)
        client4 = client.client4()
        assert client4 is not None
        assert leases(gateway)[client4] == "active"
        assert pings(client.space, HOST4) == 5
        assert pings(gateway.topology.host4, client4) == 5
        assert "dti0" not in client.space.ip("-6", "route", "get", TEP6)
        assert client.end() == 0
        assert leases(gateway).get(client4) in {None, "removing", "quarantine"}
        assert "dti0" not in interfaces(client.space)
        assert "default" not in client.space.ip("-4", "route")
        gateway.wait_until(lambda: gateway.bindings() == {}, "no bindings")


def test_protocols_that_the_server_does_not_have_are_passed_over(gateway: Gateway) -> None:
    client = Client(gateway, servers='protocols = ["tsps", "tsp-udp", "tsp", "rpc"]\n')
    client.start()
    client.until_state("BOUND")
    assert client.status()["protocol"] == "tsp"  # no TLS, and nobody is anonymous over UDP


def test_the_kill_switch_outlives_a_killed_client(gateway: Gateway) -> None:
    client = Client(gateway, tunnel="kill_switch = true\n")
    client.space.address(ONLINK_INTERFACE, "198.51.100.77/24")  # a way out that must not be taken
    client.start()
    client.until_state("BOUND")
    assert pings(client.space, HOST4) == 5
    client.end(signal.SIGKILL)
    assert "No route" in client.space.run("ping", "-c", "1", "-W", "1", HOST4, check=False)
    client.start()
    client.until_state("BOUND")
    assert pings(client.space, HOST4) == 5
    client.end(signal.SIGKILL)
    client.space.run(*program("client", "down", "--run-dir", client.run_dir))
    assert "5270" not in client.space.ip("rule")


def test_a_short_lease_is_renewed_without_a_lost_packet(gateway: Gateway) -> None:
    allow_short_leases(gateway)
    client = Client(gateway, servers='protocols = ["rpc"]\n', lease="lifetime_s = 6\n")
    client.start()
    client.until_state("BOUND")
    client4 = client.client4()
    longer_than_a_term = Form(interval_s=0.1)
    assert pings(client.space, HOST4, 100, longer_than_a_term) == 100
    assert client.client4() == client4


def test_a_server_that_dies_and_comes_back_before_the_lease_ends(gateway: Gateway) -> None:
    client = Client(gateway, lease="lifetime_s = 20\n", servers='protocols = ["rpc"]\n')
    allow_short_leases(gateway)
    client.start()
    client.until_state("BOUND")
    client4 = client.client4()
    gateway.kill(gateway.server)
    gateway.wait_until(lambda: client.status().get("error"), "a renewal that failed")
    assert client.status()["state"] in {"RENEWING", "REBINDING"}
    assert pings(client.space, HOST4) == 5
    gateway.start_server()
    gateway.wait_until(lambda: client.status().get("error") is None, "a renewal")
    client.until_state("BOUND")
    assert client.client4() == client4
    assert pings(client.space, HOST4) == 5


def test_killed_and_started_again(gateway: Gateway) -> None:
    client = Client(gateway)
    client.start()
    client.until_state("BOUND")
    client4 = client.client4()
    assert client.end(signal.SIGKILL) == -signal.SIGKILL
    assert client.told()["running"] is False
    client.start()
    client.until_state("BOUND")
    assert client.client4() == client4
    assert pings(client.space, HOST4) == 5
    told = client.told()
    assert (told["running"], told["leasing"]["state"]) == (True, "BOUND")
    assert told["counters"]["in_delivered"]["packets"] > 5
    down = program("client", "down", "--run-dir", client.run_dir)
    assert "stopped" in client.space.run(*down)
    assert "dti0" not in interfaces(client.space)


def test_another_ipv6_address_and_the_same_ipv4_address(gateway: Gateway) -> None:
    client = Client(gateway, servers='protocols = ["rpc"]\n')
    client.start()
    client.until_state("BOUND")
    space = client.space
    space.address(ONLINK_INTERFACE, f"{AWAY6}/64")
    space.ip("address", "delete", f"{CLIENT1}/64", "dev", ONLINK_INTERFACE)
    gateway.wait_until(
        lambda: (client.status().get("lease") or {}).get("client6") == AWAY6, "a lease away"
    )
    client.until_state("BOUND")
    assert pings(space, HOST4) == 5


def test_a_router_that_dies_and_comes_back(gateway: Gateway) -> None:
    client = Client(gateway)
    client.start()
    client.until_state("BOUND")
    client4 = client.client4()
    gateway.kill(gateway.router)
    client.until_state("DEAD")
    assert client.client4() == client4
    gateway.start_router()
    client.until_state("BOUND")
    assert client.client4() == client4
    assert pings(client.space, HOST4) == 5


def test_on_demand(gateway: Gateway) -> None:
    client = Client(gateway, client='mode = "demand"\nidle_s = 2\n')
    client.start()
    gateway.wait_until(lambda: "dti0" in client.space.ip("-4", "route", "show", "default"), "dti0")
    assert leases(gateway) == {}
    # one ping, sent before there is an address: its answer comes to where it was sent from
    assert pings(client.space, HOST4, 1) == 1
    client.until_state("BOUND")
    client.until_state("INIT")
    assert set(leases(gateway).values()) <= {"removing", "quarantine", "free"}
    # a TCP connection, too: the kernel gives it the address that has come meanwhile
    files = gateway.directory / "served"
    files.mkdir()
    digest = random_file(files / "data", 100_000)
    url = serve(gateway.topology.host4, files, HOST4)
    assert download(client.space, f"{url}/data", gateway.directory / "got") == digest
    assert TEP4 in client.space.ip("address", "show", "dti0")
