"""The demo's acts about leases: none, one, its renewal, its end in two ways."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, Final

from lab import demo_files
from lab.demo_checks import PINGS
from lab.topology import CLIENT1, CLIENT2, HOST4

if TYPE_CHECKING:
    from lab.demo_scene import Scene

CLIENTS: Final = {"client1": CLIENT1, "client2": CLIENT2}
BESIDES_S: Final = 1.5  # of pings after a renewal is due
PINGS_PER_S: Final = 5
STATUS_LINES: Final = 7  # then come counters


def none(scene: Scene) -> None:
    """IPv4 fails, and the router says why."""
    stage, screen, checks = scene.stage, scene.screen, scene.checks
    screen.step("Without a lease: no IPv4")
    said = stage.enter("client1", "ping", "-n", "-c", "1", "-W", "1", HOST4)
    screen.check("client1 cannot ping host4: it has no IPv4 at all", said.code != 0)
    said = stage.enter("client1", "curl", "-sS", "-m", "2", f"http://{HOST4}:8080/file")
    screen.check("nor can it fetch anything from there", said.code != 0)
    with checks.counted("DROP_NO_BINDING", PINGS):
        checks.ping("host4", "203.0.113.1", "nobody holds 203.0.113.1", answered=False)


def lease(scene: Scene) -> None:
    """Both clients ask for a lease and set up their ends of the tunnel."""
    stage, screen = scene.stage, scene.screen
    screen.step("Each client leases an address and sets up its end of the tunnel, interface dti0")
    short, known = demo_files.short_lease(), demo_files.credentials(stage.directory)
    screen.show(_start(scene, "client1", "tsp", short))
    _start(scene, "client2", "tsps", known)
    _wait_bound(scene, "client1", "tsp", "client1 has a lease over TSP")
    _wait_bound(
        scene, "client2", "tsps", f"client2 has one over TSP inside TLS, as {demo_files.USER}"
    )
    stage.enter("client1", "ip", "-4", "-brief", "address", "show", "dti0")
    stage.enter("client1", "ip", "-4", "route")
    stage.enter("router", "dstmctl", "bindings")
    expected = {stage.lent[host]: client6 for host, client6 in CLIENTS.items()}
    screen.check("the router has both bindings", scene.bound() == expected)
    screen.check("the server has both leases", scene.leased() == expected)
    stage.note_traces()


def _start(scene: Scene, host: str, protocol: str, more: str = "") -> str:
    """Start the dstm-client of a host; returns its configuration."""
    stage = scene.stage
    text = demo_files.client_toml(stage.directory, host, protocol, more)
    file = stage.directory / f"{host}-{protocol}.toml"
    file.write_text(text)
    stage.start(f"dstm-client-{host}", host, "dstm-client", "run", "--config", file)
    return text


def _wait_bound(scene: Scene, host: str, protocol: str, claim: str) -> None:
    """Claim that a client has a lease, and a default route through the tunnel."""
    stage = scene.stage

    def bound() -> bool:
        status = stage.client(host)
        return (status.get("state"), status.get("protocol")) == ("BOUND", protocol)

    scene.checks.wait(bound, claim)
    stage.lent[host] = stage.client(host)["lease"]["client4"]
    route = stage[host].ip("-4", "route", "show", "default")
    scene.screen.check(f"{host} has {stage.lent[host]}, default route: dti0", "dti0" in route)


def renewal(scene: Scene) -> None:
    """The short lease gets old, and is extended before its end."""
    stage, screen, checks = scene.stage, scene.screen, scene.checks
    screen.step(f"The lease of client1 is for {demo_files.LIFETIME_S} s: it is renewed in time")
    before: dict[str, Any] = {}

    def waits_for_t1() -> bool:
        before.clear()
        before.update(stage.client("client1"))
        return bool(before["state"] == "BOUND" and before["t1_in_s"] > 0)

    checks.wait(waits_for_t1, "nothing is due yet")
    status = f"dstm-client status --run-dir {demo_files.run_dir(stage.directory, 'client1')}"
    stage.enter("client1", "sh", "-c", f"{status} | head -n {STATUS_LINES}")
    count = round((before["t1_in_s"] + BESIDES_S) * PINGS_PER_S)
    limits = ["-c", str(count), "-i", str(1 / PINGS_PER_S), "-W", "1"]
    said = stage.enter("client1", "ping", "-n", "-q", *limits, HOST4)
    screen.check("no ping is lost meanwhile", f" {count} received" in said.text)
    half = demo_files.LIFETIME_S / 2

    def renewed() -> bool:
        status = stage.client("client1")
        return bool(status["state"] == "BOUND" and status["expires_in_s"] > half)

    checks.wait(renewed, "more than half of it is left again")
    log = stage.log("dstm-client-client1").read_text()
    screen.check("dstm-client has renewed it, the address is the same", " renew " in log)
    screen.check("the router still has it", stage.lent["client1"] in scene.bound())


def give_back(scene: Scene) -> None:
    """The client of client1 ends, and its lease with it."""
    stage, screen, checks = scene.stage, scene.screen, scene.checks
    address = stage.lent["client1"]
    screen.step("client1 stops: its lease is released, its packets are dropped and counted")
    screen.check("dstm-client ends by SIGTERM, exit code 0", stage.stop("dstm-client-client1") == 0)
    screen.check("client1 has no dti0 any more", "dti0" not in _links(scene, "client1"))
    checks.wait(lambda: address not in scene.bound(), "the router has no binding for it")
    screen.check("nor has the server a lease", address not in scene.leased())
    with checks.counted("DROP_NO_BINDING", PINGS):
        checks.ping("host4", address, f"nothing gets to {address} any more", answered=False)


def over_rpc(scene: Scene) -> None:
    """Client1 asks again, in another protocol."""
    stage, screen, checks = scene.stage, scene.screen, scene.checks
    former = stage.lent["client1"]
    screen.step("client1 asks again, over ONC RPC")
    _start(scene, "client1", "rpc")
    _wait_bound(scene, "client1", "rpc", "client1 has a lease over RPC")
    stage.enter("server", "dstmctl", "leases")
    claim = f"another address: {former} rests before somebody may get it"
    screen.check(claim, stage.lent["client1"] != former)
    checks.ping("client1", HOST4, "client1 reaches host4")
    stage.note_traces()


def take_away(scene: Scene) -> None:
    """The operator ends the lease of client1."""
    stage, screen, checks = scene.stage, scene.screen, scene.checks
    address = stage.lent["client1"]
    screen.step("The operator ends that lease: what client1 sends is dropped and counted")
    said = stage.enter("server", "dstmctl", "lease", "release", address)
    screen.check(f"{address} is released", said.code == 0)
    checks.wait(lambda: address not in scene.bound(), "the router has no binding for it")
    with checks.counted("DROP_SPOOF_ADDRESS", PINGS):
        checks.ping("client1", HOST4, "nothing gets out with it", answered=False)
    checks.ping("client2", HOST4, "client2 notices nothing")


def end(scene: Scene) -> None:
    """Both clients end."""
    stage, screen = scene.stage, scene.screen
    for host in CLIENTS:
        claim = f"dstm-client of {host} ends by SIGTERM with exit code 0"
        screen.check(claim, stage.stop(f"dstm-client-{host}") == 0)
        screen.check(f"{host} has no dti0 any more", "dti0" not in _links(scene, host))
    none_left = partial(_nothing_lent, scene)
    scene.checks.wait(none_left, "every lease is given back, no binding is left")


def _nothing_lent(scene: Scene) -> bool:
    return scene.leased() == scene.bound() == {}


def _links(scene: Scene, host: str) -> str:
    return scene.stage[host].ip("-brief", "link")
