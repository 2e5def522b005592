"""ENST's lab as it was: its files start server and client; a router, and an IPv4-only host."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import pytest

from lab.netns import interfaces
from lab.topology import CLIENT1, HOST4, POOL, ROUTER4, TEP4, TEP6
from tests.netns.gateway import Gateway, pings, program

if TYPE_CHECKING:
    from pathlib import Path

    from lab.netns import Namespace
    from lab.topology import Topology

pytestmark = pytest.mark.netns

CONF: Final = """\
# rpcdstmd.conf
default-lease-time 900;
tep6 2001:db8:402:2::1;
tep4 10.0.0.1;
subnet 10.0.1.0 netmask 255.255.255.0 { range 10.0.1.1 10.0.1.200; }
"""
SERVER_ARGS: Final = "tsp=3545\nauthmode=anonymous\n"
CLIENT_ARGS: Final = """\
tspserver=2001:db8:402:2::1
port=3545
authmode=anonymous
log: /var/log/dstmd.log
"""
LAB: Final = {TEP6: "2001:db8:402:2::1", TEP4: "10.0.0.1", POOL: "10.0.1.0/24"}
"""For the router, which has no file of theirs: ours by theirs."""

# The old files name no paths, so ours are the usual ones; `ip netns exec` has mounts of its own.
MOUNT: Final = """
for to in $2; do
  mount -t tmpfs tmpfs "$(dirname "$to")"
  mkdir "$to"
  mount --bind "$1" "$to"
done
shift 2
exec "$@"
"""


def start(space: Namespace, here: Path, places: str, *command: str | Path) -> None:
    """Start a program for which `here` is at all `places`."""
    with (here / "log").open("ab") as log:
        words = ["sh", "-c", MOUNT, "sh", here, places, *command]
        space.popen(*words, stdout=log, stderr=log)


def as_it_was(lab: Topology) -> None:
    """Give the router the lab's addresses, and the IPv4 host its routes."""
    lab.router.address("lo", f"{LAB[TEP6]}/128", f"{LAB[TEP4]}/32")
    for destination in (LAB[POOL], LAB[TEP4]):
        lab.host4.route(destination, "via", ROUTER4)


def test_the_old_files_are_enough() -> None:
    with Gateway(with_server=True, changes=LAB) as gateway:
        as_it_was(gateway.topology)
        home = gateway.directory
        conf, server_args, client_args = (
            home / name for name in ("rpcdstmd.conf", "rpcdstmd.args", "dstmd.args")
        )
        conf.write_text(CONF)
        server_args.write_text(SERVER_ARGS)
        client_args.write_text(CLIENT_ARGS)
        server = program("server", "run", "--rpcdstmd-conf", conf, "--args", server_args)
        router, client = gateway.topology.router, gateway.topology.client1
        start(router, home, "/run/dstm-server /var/lib/dstm-server", *server)
        gateway.start_router()
        place = home / "client"
        place.mkdir()
        places = "/run/dstm-client /var/log"
        start(client, place, places, *program("client", "run", "--args", client_args))
        gateway.wait_until(lambda: "dti0" in interfaces(client), "dti0")
        gateway.wait_until(lambda: "BOUND" in (place / "dstmd.log").read_text(), "a lease")
        assert "inet 10.0.1.1 peer 10.0.0.1/32" in client.ip("-4", "address", "show", "dti0")
        assert pings(client, HOST4) == 5
        assert pings(gateway.topology.host4, "10.0.1.1") == 5
        assert pings(client, "10.0.0.1") == 5
        assert gateway.bindings() == {"10.0.1.1": CLIENT1}
        assert ":3545" in router.run("ss", "-Htl6n")
