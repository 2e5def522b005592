from __future__ import annotations

import os
import socket as unix
from typing import TYPE_CHECKING

import pytest
import zmq

from dstmrouter.errors import ConfigError, SystemCallError
from dstmrouter.zmqctl.endpoint import LOCAL_RECONNECT_MS, bind, check_endpoint, connect
from tests.zmqctl.sockets import plain_socket

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize(
    ("endpoint", "text"),
    [
        ("tcp://127.0.0.1:5555", "needs CURVE"),
        ("tcp://[::1]:5555", "needs CURVE"),
        ("ipc://@abstract", "no file mode"),
        ("ipc://" + "x" * 108, "path over 107"),
        ("ipc://", "expected tcp://"),
        ("pgm://239.0.0.1:1", "expected tcp://"),
        ("/run/socket", "expected tcp://"),
        ("", "expected tcp://"),
    ],
)
def test_refused_without_keys(endpoint: str, text: str) -> None:
    with pytest.raises(ConfigError, match=text):
        check_endpoint(endpoint, curve=False)


@pytest.mark.parametrize("endpoint", ["tcp://[::1]:5555", "ipc://@abstract", "ipc:///run/x"])
def test_allowed_with_keys(endpoint: str) -> None:
    check_endpoint(endpoint, curve=True)


def test_check_is_made_where_sockets_are_opened() -> None:
    with plain_socket(zmq.DEALER) as socket:
        with pytest.raises(ConfigError, match="needs CURVE"):
            bind(socket, "tcp://127.0.0.1:*", curve=None)
        with pytest.raises(ConfigError, match="needs CURVE"):
            connect(socket, "tcp://127.0.0.1:5555", curve=None)


@pytest.mark.parametrize("mode", [0o600, 0o660])
def test_socket_file_has_the_mode_asked_for(tmp_path: Path, mode: int) -> None:
    before = os.umask(0o022)
    os.umask(before)
    path = tmp_path / "made" / "control"
    with plain_socket(zmq.ROUTER) as socket:
        bind(socket, f"ipc://{path}", curve=None, ipc_mode=mode)
        assert path.stat().st_mode & 0o777 == mode
    after = os.umask(before)
    assert after == before


def test_endpoint_of_a_living_process_is_not_taken_over(tmp_path: Path) -> None:
    endpoint = f"ipc://{tmp_path}/control"
    with plain_socket(zmq.ROUTER) as first, plain_socket(zmq.ROUTER) as second:
        bind(first, endpoint, curve=None)
        with pytest.raises(ConfigError, match="another process serves it"):
            bind(second, endpoint, curve=None)


def test_socket_file_left_by_a_killed_process_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "control"
    with unix.socket(unix.AF_UNIX) as dead:
        dead.bind(str(path))
    assert path.exists()
    with plain_socket(zmq.ROUTER) as socket:
        bind(socket, f"ipc://{path}", curve=None)
        assert path.is_socket()


def test_directory_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with (
        plain_socket(zmq.ROUTER) as socket,
        pytest.raises(SystemCallError, match="create"),
    ):
        bind(socket, f"ipc://{tmp_path}/file/control", curve=None)


def test_a_local_daemon_that_starts_is_found_at_once(tmp_path: Path) -> None:
    with plain_socket(zmq.DEALER) as local:
        connect(local, f"ipc://{tmp_path}/c", curve=None)
        assert local.getsockopt(zmq.RECONNECT_IVL) == LOCAL_RECONNECT_MS
        assert local.getsockopt(zmq.RECONNECT_IVL_MAX) == 0  # the same each time


def test_no_zmtp_pings_because_of_libzmq_issue_4767(tmp_path: Path) -> None:
    with plain_socket(zmq.ROUTER) as bound, plain_socket(zmq.DEALER) as connected:
        bind(bound, f"ipc://{tmp_path}/c", curve=None)
        connect(connected, f"ipc://{tmp_path}/c", curve=None)
        for socket in (bound, connected):
            assert socket.getsockopt(zmq.HEARTBEAT_IVL) == 0
            assert socket.getsockopt(zmq.TCP_KEEPALIVE) == 1
