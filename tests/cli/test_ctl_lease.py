from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from tests.cli.daemons import METHODS, Daemon
from tests.cli.test_ctl import ask
from tests.zmqctl.sockets import control_in_thread

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize(
    ("arguments", "method", "params"),
    [
        (["grant", "2001:db8::7"], "lease.grant", {"client6": "2001:db8::7"}),
        (
            ["grant", "2001:db8::7", "--ipv4", "192.0.2.7", "--identity", "al", "--lifetime", "9"],
            "lease.grant",
            {"client6": "2001:db8::7", "ipv4": "192.0.2.7", "identity": "al", "lifetime_s": 9},
        ),
        (
            ["grant", "2001:db8::7", "--port-set"],
            "lease.grant",
            {"client6": "2001:db8::7", "port_set": True},
        ),
        (
            ["renew", "192.0.2.7", "2001:db8::7"],
            "lease.renew",
            {"ipv4": "192.0.2.7", "client6": "2001:db8::7"},
        ),
        (
            ["renew", "12", "2001:db8::7", "--lifetime", "60"],
            "lease.renew",
            {"lease_id": 12, "client6": "2001:db8::7", "lifetime_s": 60},
        ),
        (["release", "192.0.2.7"], "lease.release", {"ipv4": "192.0.2.7"}),
        (
            ["release", "12", "2001:db8::7"],
            "lease.release",
            {"lease_id": 12, "client6": "2001:db8::7"},
        ),
    ],
)
def test_what_the_server_is_asked(
    tmp_path: Path, arguments: list[str], method: str, params: dict[str, Any]
) -> None:
    daemon = Daemon()
    with control_in_thread(f"ipc://{tmp_path}/c", handlers=daemon.handlers(*METHODS)) as server:
        assert "2001:db8::7" in ask("lease", *arguments, "--server", server.endpoint)
        answer = json.loads(ask("lease", *arguments, "--server", server.endpoint, "--json"))
    assert daemon.asked == [(method, params)] * 2
    assert answer["lease_id"] == 12
