"""The daemons work with no more capabilities than their systemd units leave them."""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import pytest

from lab.netns import interfaces
from lab.topology import HOST4
from tests.netns.gateway import Gateway, no_ping, program
from tests.netns.test_client_leases import LEASES, Client

if TYPE_CHECKING:
    import subprocess

CONF: Final = Path(__file__).parents[2] / "conf"

pytestmark = [
    pytest.mark.netns,
    pytest.mark.skipif(shutil.which("setpriv") is None, reason="needs setpriv (util-linux)"),
]


def confined(name: str) -> list[str]:
    """Words before a command that leave it what the unit of `name` does."""
    unit = (CONF / f"dstm-{name}.service").read_text()
    found = re.search(r"^CapabilityBoundingSet=(.*)$", unit, re.MULTILINE)
    assert found is not None
    left = [f"+{word.removeprefix('CAP_').lower()}" for word in found[1].split()]
    return ["setpriv", f"--bounding-set={','.join(['-all', *left])}", "--no-new-privs"]


class ConfinedGateway(Gateway):
    """Router and server as under systemd."""

    def _start(self, name: str, config: Path) -> subprocess.Popen[Any]:
        with self.log.open("ab") as log:
            words = [*confined(name), *program(name, "run", "--config", config)]
            return self.topology.router.popen(*words, stdout=log, stderr=log)


def test_a_lease_and_a_ping_through_confined_daemons() -> None:
    with ConfinedGateway(with_server=True, changes={"[tep]": f"{LEASES}[tep]"}) as gateway:
        gateway.start_server()
        gateway.start_router()
        client = Client(gateway, tunnel="kill_switch = true\n", client='mode = "demand"\n')
        words = [*confined("client"), *program("client", "run", "-c", client.file)]
        with gateway.log.open("ab") as log:
            client.process = client.space.popen(*words, stdout=log, stderr=log)
        gateway.wait_until(lambda: "dti0" in interfaces(client.space), "dti0")
        gateway.wait_until(lambda: not no_ping(client.space, HOST4, 1), "a ping")
        client.until_state("BOUND")
        caps = Path(f"/proc/{client.process.pid}/status").read_text()
        assert "CapEff:\t0000000000003000\n" in caps  # CAP_NET_ADMIN, CAP_NET_RAW
        assert client.end() == 0
        assert "dti0" not in interfaces(client.space)
        assert gateway.stop_router() == 0
