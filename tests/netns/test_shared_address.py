"""Two clients with shares of one address, each with its NAT, and a real server and router."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from dstmrouter.protocols.granted import PortSet
from lab.topology import CLIENT1, CLIENT2, HOST4, POOL, TEP4, TEP6
from lab.transfer import download, random_file, serve
from tests.netns.gateway import Gateway, pings, program

if TYPE_CHECKING:
    from lab.netns import Namespace

DOWNLOAD_LEN = 2_000_000  # octets
SHARED = f'prefix = "{POOL}"\npsid_offset = 6\npsid_len = 8\n'

pytestmark = pytest.mark.netns


def start_client(gateway: Gateway, space: Namespace, lease: dict[str, Any]) -> None:
    names = ("psid_offset", "psid_len", "psid")
    ports = PortSet(**{name: int(lease[name]) for name in names})
    ends = ("--client4", lease["ipv4"], "--client6", lease["client6"], "--tep6", TEP6)
    place = ("--tep4", TEP4, "--route", "default", "--backend", "tun", "--port-set", str(ports))
    run_dir = gateway.directory / f"client-{ports.psid}"
    words = program("client", "--static", *ends, *place, "--run-dir", run_dir)
    with gateway.log.open("ab") as log:
        space.popen(*words, stdout=log, stderr=log)
    gateway.wait_until(lambda: "dti0" in space.ip("-4", "route", "show", "default"), "dti0")


def test_two_clients_of_one_address() -> None:
    changes = {f'[[pool]]\nprefix = "{POOL}"\n\n[tep]': f"[[pool]]\n{SHARED}\n[tep]"}
    with Gateway(with_server=True, changes=changes) as gateway:
        gateway.start_both()
        first = gateway.lessor.call("lease.grant", client6=CLIENT1, port_set=True)
        wish = {"ipv4": first["ipv4"], "psid": first["psid"] + 1}
        second = gateway.lessor.call("lease.grant", client6=CLIENT2, port_set=True, **wish)
        assert (second["ipv4"], second["psid"]) == tuple(wish.values())
        spaces = (gateway.topology.client1, gateway.topology.client2)
        for space, lease in zip(spaces, (first, second), strict=True):
            start_client(gateway, space, lease)
            assert pings(space, HOST4) == 5
        files = gateway.directory / "files"
        files.mkdir()
        digest = random_file(files / "data", DOWNLOAD_LEN)
        url = serve(gateway.topology.host4, files, HOST4)
        for number, space in enumerate(spaces):
            assert download(space, f"{url}/data", files / f"got{number}") == digest
        assert gateway.count("DROP_SPOOF_PORT") == 0
