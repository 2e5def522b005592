"""The acts of the demo, in order: the life of leases, from no IPv4 to no IPv4."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from lab import demo_daemons, demo_leases, demo_traffic
from lab.topology import CLIENT1, CLIENT2, FAR4, HOST4
from lab.transfer import random_file, serve

if TYPE_CHECKING:
    from collections.abc import Callable

    from lab.demo_scene import Scene

SIZE: Final = 4 << 20  # octets of a download
DRAWING: Final = f"""\
  IPv6 only                                               IPv4 only
 +---------+ {CLIENT1}                             {HOST4}
 | client1 |------+      IPv4 in   +-------------+       +-------+
 +---------+      |        IPv6    | dstm-router |  IPv4 | host4 |
              +--------+     port6 |   AF_XDP    | port4 +-------+
              | access |===========|   numpy     |-----------+
              +--------+           +-------------+        {FAR4}
 +---------+      |  :                    ^ who holds which address:
 | client2 |------+  : TSP, TLS, RPC      | ZeroMQ, encrypted (CURVE)
 +---------+         :             +-------------+
   {CLIENT2}    :.............| dstm-server | lends 203.0.113.0/24
   dstm-client                     +-------------+
"""


def network(scene: Scene) -> None:
    """Show who is there."""
    screen = scene.screen
    screen.step("The network: six hosts, each a network namespace of this machine")
    screen.show(DRAWING)
    _web_servers(scene)
    screen.say(
        "client1 and client2 have no IPv4 address, and the network around them carries none.\n"
        f"host4 has no IPv6. While this runs, look in: ip netns exec "
        f"{scene.stage['client1'].name} bash"
    )


def _web_servers(scene: Scene) -> None:
    """Serve a file on host4 and client1: now, when nothing leads to a name server.

    It would be asked for the name of the host, and silence would cost seconds.
    """
    stage = scene.stage
    served = stage.directory / "www"
    served.mkdir()
    random_file(served / "file", SIZE)
    serve(stage["host4"], served, HOST4)
    serve(stage["client1"], served, "0.0.0.0")  # its address comes later


def stop(scene: Scene) -> None:
    """Everything ends, in order."""
    stage, screen = scene.stage, scene.screen
    screen.step("Stop everything")
    stage.note_traces()
    demo_leases.end(scene)
    for name in ("dstm-router", "dstm-server"):
        screen.check(f"{name} ends by SIGTERM with exit code 0", stage.stop(name) == 0)
    links = stage["router"].ip("link")
    screen.check("no XDP program is attached to a port", "xdp" not in links)


ACTS: Final[tuple[Callable[[Scene], None], ...]] = (
    network,
    demo_daemons.server,
    demo_daemons.router,
    demo_leases.none,
    demo_leases.lease,
    demo_traffic.pings,
    demo_traffic.downloads,
    demo_traffic.hairpin,
    demo_leases.renewal,
    demo_daemons.server_dies,
    demo_traffic.look,
    demo_leases.give_back,
    demo_leases.over_rpc,
    demo_leases.take_away,
    stop,
)
"""Each takes the scene, and raises StepError or LabError where something does not hold."""
