from __future__ import annotations

import socket
from typing import TYPE_CHECKING

import pytest

from dstmrouter.cli.ctl_access import Access, print_json
from dstmrouter.errors import ConfigError, ControlError
from dstmrouter.zmqctl import KeyPair, write_keys
from tests.cli.daemons import Daemon
from tests.zmqctl.sockets import control_in_thread

if TYPE_CHECKING:
    from pathlib import Path


def test_params_that_are_not_given_are_not_sent(tmp_path: Path) -> None:
    daemon = Daemon()
    with control_in_thread(f"ipc://{tmp_path}/c", handlers=daemon.handlers("leases")) as server:
        Access.of(None, None, 5.0).call(server.endpoint, "leases", state=None, limit=3)
    assert daemon.asked == [("leases", {"limit": 3})]


def test_socket_of_a_killed_daemon_is_noticed_at_once(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(tmp_path / "c"))
    with pytest.raises(ControlError, match="nobody listens there"):
        Access.of(None, None, 1000.0).call(f"ipc://{tmp_path}/c", "status")


def test_half_of_the_keys(tmp_path: Path) -> None:
    write_keys(KeyPair.generate(), tmp_path / "key")
    with pytest.raises(ConfigError, match="belong together"):
        Access.of(tmp_path / "key", None, 5.0)
    with pytest.raises(ConfigError, match="belong together"):
        Access.of(None, "x", 5.0)


def test_octets_are_printed_as_digits(capsys: pytest.CaptureFixture[str]) -> None:
    print_json({"epoch": b"\x0a\xff"})
    assert capsys.readouterr().out == '{"epoch": "0aff"}\n'
