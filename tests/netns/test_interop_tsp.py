"""Another kernel as data path of a real lease: dstm-client in a user-mode Linux asks over TSP."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING, Final

import pytest

from lab.topology import HOST4, ROUTER6, TEP4, TEP6
from lab.transfer import random_file, serve
from lab.uml import Uml
from tests.netns.gateway import Gateway, pings, program

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = [pytest.mark.netns, pytest.mark.uml]

CLIENT6: Final = "2001:db8:1::33"
SIZE: Final = 1_000_000
TSP: Final = {"[tep]": '[tsp]\nmechanisms = ["ANONYMOUS"]\n\n[tep]'}
CONFIG: Final = f"""\
[client]
run_dir = "/run/dstm-client"

[servers]
hosts = ["{TEP6}"]
protocols = ["tsp"]

[tunnel]
backend = "ip6tnl"
"""
START: Final = """\
{client} >/run/log 2>&1 &
echo $! >/run/pid
for try in $(seq 400); do
  grep -q BOUND /run/log && exit
  sleep 0.1
done
cat /run/log; exit 1
"""
END: Final = """\
kill $(cat /run/pid)
while [ -e /proc/$(cat /run/pid)/exe ]; do sleep 0.1; done
ip link show; cat /run/log
"""


@pytest.fixture
def gateway() -> Iterator[Gateway]:
    with Gateway(with_server=True, changes=TSP) as made:
        made.start_server()
        made.start_router()
        yield made


def guest_pings(guest: Uml, target: str) -> int:
    said = guest.run(f"ping -n -q -c 5 -i 0.1 -W 2 {target}", check=False)
    return int(said.partition(" received")[0].rpartition(" ")[2])


def test_ip6tnl_carries_a_lease_that_was_got_over_tsp(gateway: Gateway, tmp_path: Path) -> None:
    file = gateway.directory / "client.toml"
    file.write_text(CONFIG)
    digest = random_file(tmp_path / "file", SIZE)
    url = serve(gateway.topology.host4, tmp_path, HOST4)
    with Uml(*gateway.topology.attach("uml")) as guest:
        guest.address(f"{CLIENT6}/64", ROUTER6)
        guest.run(
            START.format(client=shlex.join(program("client", "run", "-c", file))), timeout_s=90
        )
        [(ipv4, client6)] = gateway.bindings().items()
        assert client6 == CLIENT6
        assert f"inet {ipv4} peer {TEP4}/32" in guest.run("ip -4 address show dti0")
        assert "ip6tnl ipip6" in guest.run("ip -d link show dti0")
        assert guest_pings(guest, HOST4) == 5
        assert pings(gateway.topology.host4, ipv4) == 5
        fetch = f"curl -sS -f --noproxy '*' -m 60 {url}/file | sha256sum"
        assert guest.run(fetch, timeout_s=70).split()[0] == digest
        left = guest.run(END)
        assert "dti0:" not in left
        assert "error" not in left.lower()
        gateway.wait_until(lambda: gateway.bindings() == {}, "the end of the lease")
