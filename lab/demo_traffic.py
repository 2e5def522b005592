"""The demo's acts with traffic: pings, TCP, from tunnel to tunnel, and what the router counted."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lab.demo_checks import PINGS
from lab.topology import FAR4, HOST4, TEP4
from lab.transfer import sha256

if TYPE_CHECKING:
    from lab.demo_scene import Scene


def pings(scene: Scene) -> None:
    """Ping in all directions."""
    checks, lent = scene.checks, scene.stage.lent
    scene.screen.step("Ping, begun by either side")
    with checks.counted("ENCAPSULATED", 3 * PINGS), checks.counted("DECAPSULATED", 3 * PINGS):
        checks.ping("client1", HOST4, "client1 reaches host4")
        checks.ping("client2", FAR4, "client2 reaches a network behind host4")
        checks.ping("host4", lent["client1"], "host4 reaches client1")
    with checks.counted("ECHO_ANSWERED", PINGS):
        checks.ping("client1", TEP4, "the router answers for its own address")


def downloads(scene: Scene) -> None:
    """TCP in both directions."""
    stage, screen, checks = scene.stage, scene.screen, scene.checks
    file = stage.directory / "www/file"
    screen.step(f"TCP: a file of {file.stat().st_size >> 20} MiB each way")
    digest = sha256(file)
    screen.say(f"sha256 of the file on host4 and on client1: {digest}")
    checks.download("client1", HOST4, digest)
    checks.download("host4", stage.lent["client1"], digest)


def hairpin(scene: Scene) -> None:
    """From tunnel to tunnel."""
    stage, screen, checks = scene.stage, scene.screen, scene.checks
    screen.step("Client to client: out of one tunnel into the other")
    with checks.counted("HAIRPINNED", 2 * PINGS):
        checks.ping("client2", stage.lent["client1"], "client2 reaches client1")
    checks.download("client2", stage.lent["client1"], sha256(stage.directory / "www/file"))


def look(scene: Scene) -> None:
    """Counters of the router."""
    stage, screen = scene.stage, scene.screen
    screen.step("What became of every packet")
    screen.check("the router counted", stage.enter("router", "dstmctl", "counters").code == 0)
    verdicts = stage.ask("router", "counters")["verdicts"]
    dropped = [row["name"] for row in verdicts if row["packets"] and "DROP" in row["name"]]
    known = ["DROP_NO_BINDING"]  # the pings of the step without a lease
    screen.check("it dropped what belonged to no lease, and nothing else", dropped == known)
