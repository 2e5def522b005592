"""The acts of the demo: the life of two leases, from no IPv4 to no IPv4."""

from __future__ import annotations

import re
from functools import partial
from typing import TYPE_CHECKING, Final

from lab import demo_files
from lab.demo_checks import PINGS
from lab.topology import CLIENT1, CLIENT2, FAR4, HOST4, TEP4, TEP6
from lab.transfer import random_file, serve, sha256

if TYPE_CHECKING:
    from lab.demo_checks import Checks
    from lab.demo_screen import Screen
    from lab.demo_stage import Stage

SIZE: Final = 4 << 20  # octets of a download
CLIENTS: Final = {"client1": CLIENT1, "client2": CLIENT2}
DRAWING: Final = f"""\
  IPv6 only                                               IPv4 only
 +---------+ {CLIENT1}                             {HOST4}
 | client1 |------+      IPv4 in   +-------------+       +-------+
 +---------+      |        IPv6    | dstm-router |  IPv4 | host4 |
              +--------+     port6 |   AF_XDP    | port4 +-------+
              | access |===========|   numpy     |-----------+
              +--------+           +-------------+        {FAR4}
 +---------+      |                       ^ who holds which address:
 | client2 |------+                       | ZeroMQ, encrypted (CURVE)
 +---------+ {CLIENT2}        +-------------+
   dstm-client                     | dstm-server | lends 203.0.113.0/24
                                   +-------------+
"""


class Demo:
    """The acts, in order."""

    def __init__(self, screen: Screen, stage: Stage, checks: Checks) -> None:
        self._screen = screen
        self._stage = stage
        self._checks = checks

    def run(self) -> None:
        """Play all acts; StepError or LabError where one does not hold."""
        for act in (
            self.network,
            self.server,
            self.router,
            self.without_lease,
            self.grant,
            self.clients,
            self.pings,
            self.downloads,
            self.hairpin,
            self.look,
            self.release,
            self.stop,
        ):
            act()

    def network(self) -> None:
        """Show who is there."""
        screen = self._screen
        screen.step("The network: six hosts, each a network namespace of this machine")
        screen.show(DRAWING)
        self._web_servers()
        screen.say(
            "client1 and client2 have no IPv4 address, and the network around them carries none.\n"
            f"host4 has no IPv6. While this runs, look in: ip netns exec "
            f"{self._stage['client1'].name} bash"
        )

    def _web_servers(self) -> None:
        """Serve a file on host4 and client1: now, when nothing leads to a name server.

        It would be asked for the name of the host, and silence would cost seconds.
        """
        served = self._stage.directory / "www"
        served.mkdir()
        random_file(served / "file", SIZE)
        serve(self._stage["host4"], served, HOST4)
        serve(self._stage["client1"], served, "0.0.0.0")  # its address comes later

    def server(self) -> None:
        """Keys, configuration and start of the lease server."""
        stage, screen, checks = self._stage, self._screen, self._checks
        screen.step("Keys for server and router, and the lease server")
        for host in ("server", "router"):
            said = stage.enter(
                host, "dstmctl", "keygen", demo_files.secret_key(stage.directory, host)
            )
            screen.check(f"{host} has a key pair; the public half goes to the other", not said.code)
        text = demo_files.server_toml(stage.directory, checks.public_key("router"))
        file = checks.configure("server", text)
        stage.start("dstm-server", "server", "dstm-server", "run", "--config", file)
        checks.wait(lambda: bool(stage.ask("server", "status")), "dstm-server answers")

    def router(self) -> None:
        """Configuration and start of the router."""
        stage, screen, checks = self._stage, self._screen, self._checks
        screen.step("The router takes tunnel packets off its ports, the kernel keeps the rest")
        text = demo_files.router_toml(stage.directory, checks.public_key("server"))
        file = checks.configure("router", text)
        screen.show(text)
        stage.start("dstm-router", "router", "dstm-router", "run", "--config", file)

        def follows() -> bool:
            feeds = stage.ask("router", "status")["feeds"]
            return [feed["phase"] for feed in feeds] == ["following"]

        checks.wait(follows, "dstm-router forwards and follows the server, encrypted")
        for port in stage.ask("router", "ports")["ports"]:
            modes = ", ".join(queue["mode"] for queue in port["queues"])
            screen.check(f"{port['name']} is open: {modes}", bool(modes))
        stage.note_traces()

    def without_lease(self) -> None:
        """IPv4 fails, and the router says why."""
        stage, screen, checks = self._stage, self._screen, self._checks
        screen.step("Without a lease: no IPv4")
        said = stage.enter("client1", "ping", "-n", "-c", "1", "-W", "1", HOST4)
        screen.check("client1 cannot ping host4: it has no IPv4 at all", said.code != 0)
        said = stage.enter("client1", "curl", "-sS", "-m", "2", f"http://{HOST4}:8080/file")
        screen.check("nor can it fetch anything from there", said.code != 0)
        with checks.counted("DROP_NO_BINDING", PINGS):
            checks.ping("host4", "203.0.113.1", "nobody holds 203.0.113.1", answered=False)

    def grant(self) -> None:
        """The operator lends two addresses."""
        stage, screen = self._stage, self._screen
        screen.step("Lend an address to each client")
        for host, client6 in CLIENTS.items():
            said = stage.enter("server", "dstmctl", "lease", "grant", client6)
            address = re.search(r"\b203\.0\.113\.\d+\b", said.text)
            screen.check(f"{host} gets an address", said.code == 0 and address is not None)
            assert address is not None
            stage.lent[host] = address[0]
        stage.enter("router", "dstmctl", "bindings")
        expected = {stage.lent[host]: client6 for host, client6 in CLIENTS.items()}
        screen.check("the router has both bindings", self._bound() == expected)

    def _bound(self) -> dict[str, str]:
        """IPv4 address and IPv6 address of every binding in the router."""
        rows = self._stage.ask("router", "bindings")["bindings"]
        return {row["ipv4"]: row["client6"] for row in rows}

    def clients(self) -> None:
        """The clients set up their ends of the tunnel."""
        stage, screen, checks = self._stage, self._screen, self._checks
        screen.step("Each client sets up its end of the tunnel, interface dti0")
        for host, client6 in CLIENTS.items():
            stage.start(
                f"dstm-client-{host}", host, "dstm-client", "--static", "--client4",
                stage.lent[host], "--client6", client6, "--tep6", TEP6, "--tep4", TEP4,
                "--route", "default", "--run-dir", stage.directory / host,
            )  # fmt: skip
        for host in CLIENTS:
            up = partial(self._has_default_route, host)
            checks.wait(up, f"{host} has a default route through dti0")
        stage.enter("client1", "ip", "-4", "-brief", "address", "show", "dti0")
        stage.enter("client1", "ip", "-4", "route")
        stage.note_traces()

    def _has_default_route(self, host: str) -> bool:
        return "dti0" in self._stage[host].ip("-4", "route", "show", "default")

    def pings(self) -> None:
        """Ping in all directions."""
        screen, checks, lent = self._screen, self._checks, self._stage.lent
        screen.step("Ping, begun by either side")
        with checks.counted("ENCAPSULATED", 3 * PINGS), checks.counted("DECAPSULATED", 3 * PINGS):
            checks.ping("client1", HOST4, "client1 reaches host4")
            checks.ping("client2", FAR4, "client2 reaches a network behind host4")
            checks.ping("host4", lent["client1"], "host4 reaches client1")
        with checks.counted("ECHO_ANSWERED", PINGS):
            checks.ping("client1", TEP4, "the router answers for its own address")

    def downloads(self) -> None:
        """TCP in both directions."""
        stage, screen, checks = self._stage, self._screen, self._checks
        screen.step(f"TCP: a file of {SIZE >> 20} MiB each way")
        digest = sha256(stage.directory / "www/file")
        screen.say(f"sha256 of the file on host4 and on client1: {digest}")
        checks.download("client1", HOST4, digest)
        checks.download("host4", stage.lent["client1"], digest)

    def hairpin(self) -> None:
        """From tunnel to tunnel."""
        stage, screen, checks = self._stage, self._screen, self._checks
        screen.step("Client to client: out of one tunnel into the other")
        with checks.counted("HAIRPINNED", 2 * PINGS):
            checks.ping("client2", stage.lent["client1"], "client2 reaches client1")
        checks.download("client2", stage.lent["client1"], sha256(stage.directory / "www/file"))

    def look(self) -> None:
        """Counters of the router."""
        stage, screen = self._stage, self._screen
        screen.step("What became of every packet")
        screen.check("the router counted", stage.enter("router", "dstmctl", "counters").code == 0)
        verdicts = stage.ask("router", "counters")["verdicts"]
        dropped = [row["name"] for row in verdicts if row["packets"] and "DROP" in row["name"]]
        known = ["DROP_NO_BINDING"]  # the pings of the step without a lease
        screen.check("it dropped what belonged to no lease, and nothing else", dropped == known)

    def release(self) -> None:
        """The lease of client1 ends."""
        stage, screen, checks = self._stage, self._screen, self._checks
        screen.step("Release the lease of client1: its packets are dropped and counted")
        address = stage.lent["client1"]
        said = stage.enter("server", "dstmctl", "lease", "release", address)
        screen.check(f"{address} is released", said.code == 0)
        checks.wait(lambda: address not in self._bound(), "the router has no binding for it")
        with checks.counted("DROP_NO_BINDING", PINGS):
            checks.ping("host4", address, f"nothing gets to {address} any more", answered=False)
        with checks.counted("DROP_SPOOF_ADDRESS", PINGS):
            checks.ping("client1", HOST4, "nothing gets out with it either", answered=False)
        checks.ping("client2", HOST4, "client2 notices nothing")
        stage.enter("server", "dstmctl", "leases")
        screen.say("Its address rests in quarantine before somebody else may get it.")

    def stop(self) -> None:
        """Everything ends, in order."""
        stage, screen = self._stage, self._screen
        screen.step("Stop everything")
        stage.note_traces()
        for name in ("dstm-client-client1", "dstm-client-client2", "dstm-router", "dstm-server"):
            screen.check(f"{name} ends by SIGTERM with exit code 0", stage.stop(name) == 0)
        for host in CLIENTS:
            links = stage[host].ip("-brief", "link")
            screen.check(f"{host} has no dti0 any more", "dti0" not in links)
        links = stage["router"].ip("link")
        screen.check("no XDP program is attached to a port", "xdp" not in links)
