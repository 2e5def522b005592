"""ENST's own files start server and client, a real router between them and an IPv4-only host."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import pytest

from lab.netns import interfaces
from lab.topology import HOST4, TEP4, TEP6
from tests.netns.gateway import Gateway, pings, program

if TYPE_CHECKING:
    from pathlib import Path

    from lab.netns import Namespace

pytestmark = pytest.mark.netns

CONF: Final = f"""\
# /etc/rpcdstmd.conf
default-lease-time 900;
tep6 {TEP6};
tep4 {TEP4};
subnet 203.0.113.0 netmask 255.255.255.0 {{ range 203.0.113.1 203.0.113.200; }}
"""
SERVER_ARGS: Final = "tsp=3545\nauthmode=anonymous\n"
CLIENT_ARGS: Final = f"""\
tspserver={TEP6}
port=3545
authmode=anonymous
log: {{log}}
"""
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


def test_the_two_files_are_enough() -> None:
    with Gateway(with_server=True) as gateway:
        home = gateway.directory
        conf, server_args, client_args = (
            home / name for name in ("rpcdstmd.conf", "rpcdstmd.args", "dstmd.args")
        )
        conf.write_text(CONF)
        server_args.write_text(SERVER_ARGS)
        client_args.write_text(CLIENT_ARGS.format(log=home / "dstmd.log"))
        server = program("server", "run", "--rpcdstmd-conf", conf, "--args", server_args)
        router, client = gateway.topology.router, gateway.topology.client1
        start(router, home, "/run/dstm-server /var/lib/dstm-server", *server)
        gateway.start_router()
        run_dir = home / "client"
        run_dir.mkdir()
        start(client, run_dir, "/run/dstm-client", *program("client", "run", "--args", client_args))
        gateway.wait_until(lambda: "dti0" in interfaces(client), "dti0")
        gateway.wait_until(lambda: "BOUND" in (home / "dstmd.log").read_text(), "a lease")
        assert "inet 203.0.113.1 peer 192.0.2.1/32" in client.ip("-4", "address", "show", "dti0")
        assert pings(client, HOST4) == 5
        assert gateway.bindings() == {"203.0.113.1": "2001:db8:1::11"}
