"""The daemons tell a service manager when they are up and when they stop (Type=notify)."""

from __future__ import annotations

import os
import socket
import tempfile
from pathlib import Path

import pytest

from lab.netns import PATIENCE_S, stop
from tests.netns.gateway import Gateway
from tests.netns.test_client_leases import LEASES, Client

pytestmark = pytest.mark.netns


def test_ready_and_stopping(monkeypatch: pytest.MonkeyPatch) -> None:
    with (
        tempfile.TemporaryDirectory() as home,
        socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager,
        Gateway(with_server=True, changes={"[tep]": f"{LEASES}[tep]"}) as gateway,
    ):
        path = Path(home, "notify")
        manager.bind(str(path))
        manager.settimeout(PATIENCE_S)
        monkeypatch.setitem(os.environ, "NOTIFY_SOCKET", str(path))
        gateway.start_server()
        assert manager.recv(100) == b"READY=1"
        gateway.start_router()
        assert manager.recv(100) == b"READY=1"
        client = Client(gateway)
        client.start()
        assert manager.recv(100) == b"READY=1"
        said = manager.recv(100)
        while said != b"STATUS=BOUND: has a lease":
            assert said.startswith(b"STATUS=")
            said = manager.recv(100)
        for process in (client.process, gateway.router, gateway.server):
            assert process is not None
            assert stop(process) == 0
            while (said := manager.recv(100)) != b"STOPPING=1":
                assert said.startswith(b"STATUS=")
