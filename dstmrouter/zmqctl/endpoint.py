"""ZeroMQ sockets as this project opens them: which endpoints are allowed, and every limit.

TCP is refused without CURVE. Plain endpoints are `ipc://` paths, guarded by the mode of the socket
file, and `inproc://` inside one process. Abstract UNIX sockets (`ipc://@name`) have no file mode,
so they too need CURVE.
"""

from __future__ import annotations

import os
import socket as unix
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import zmq

from dstmrouter.errors import ConfigError, SystemCallError
from dstmrouter.zmqctl.messages import MESSAGE_MAX

if TYPE_CHECKING:
    from dstmrouter.zmqctl.keys import CurveClient, CurveServer

ZAP_DOMAIN: Final = b"dstm"
IPC_PATH_MAX: Final = 107  # sizeof(sockaddr_un.sun_path) less the final zero
LOCAL_RECONNECT_MS: Final = 50  # and, by libzmq, up to as much again at random

_OPTIONS: Final = {
    zmq.MAXMSGSIZE: MESSAGE_MAX,
    zmq.IPV6: 1,
    zmq.LINGER: 200,  # ms; answers already given still leave, and no close waits for a dead peer
    zmq.BACKLOG: 64,
    zmq.HANDSHAKE_IVL: 5_000,  # ms for a peer to finish the ZMTP and CURVE handshake
    # Not ZMTP pings: libzmq aborts the process when one is due on a connection that was closed
    # while its receive queue was full (zeromq/libzmq issue 4767, in 4.3.5). The kernel finds dead
    # peers as well: first probe after 10 s, then every 5 s, three times.
    zmq.TCP_KEEPALIVE: 1,
    zmq.TCP_KEEPALIVE_IDLE: 10,
    zmq.TCP_KEEPALIVE_INTVL: 5,
    zmq.TCP_KEEPALIVE_CNT: 3,
    zmq.RECONNECT_IVL: 100,
    zmq.RECONNECT_IVL_MAX: 2_000,
}


def check_endpoint(endpoint: str, *, curve: bool) -> None:
    """Raise ConfigError unless `endpoint` may be used with (or without) CURVE."""
    scheme, separator, address = endpoint.partition("://")
    if not separator or not address or scheme not in {"tcp", "ipc", "inproc"}:
        raise ConfigError(f"endpoint {endpoint!r}: expected tcp://, ipc:// or inproc://")
    if scheme == "tcp" and not curve:
        raise ConfigError(f"endpoint {endpoint}: TCP needs CURVE keys; plain only over ipc://")
    if scheme == "ipc":
        if address.startswith("@") and not curve:
            raise ConfigError(
                f"endpoint {endpoint}: an abstract socket has no file mode, use a path"
            )
        if len(os.fsencode(address)) > IPC_PATH_MAX:
            raise ConfigError(f"endpoint {endpoint}: path over {IPC_PATH_MAX} octets")


def bind(
    socket: zmq.Socket[Any], endpoint: str, *, curve: CurveServer | None, ipc_mode: int = 0o600
) -> None:
    """Set limits and keys on `socket` and bind it; SystemCallError when the system refuses.

    The file of an ipc endpoint gets `ipc_mode`. With `curve` the context of the socket must run a
    KeyGate: libzmq then refuses every connection that no gate let in.
    """
    check_endpoint(endpoint, curve=curve is not None)
    _set_options(socket)
    if curve is not None:
        socket.setsockopt(zmq.CURVE_SERVER, 1)
        socket.setsockopt(zmq.CURVE_SECRETKEY, curve.keys.secret.encode("ascii"))
        socket.setsockopt(zmq.ZAP_DOMAIN, ZAP_DOMAIN)
        socket.setsockopt(zmq.ZAP_ENFORCE_DOMAIN, 1)
    path = socket_file(endpoint)
    if path is None:
        _bind(socket, endpoint)
    else:
        _bind_path(socket, endpoint, path, ipc_mode)


def close_bound(socket: zmq.Socket[Any], endpoint: str) -> None:
    """Close a bound socket and remove its file, which libzmq leaves. May be called again."""
    if socket.closed:
        return
    path = socket_file(endpoint)
    if path is not None:
        path.unlink(missing_ok=True)  # first: a successor may bind the path from now on
    socket.close()


def socket_file(endpoint: str) -> Path | None:
    """Return the socket file of an ipc endpoint; None for TCP, inproc and abstract sockets."""
    path = endpoint.removeprefix("ipc://")
    return None if path == endpoint or path.startswith("@") else Path(path)


def is_served(path: Path) -> bool:
    """Whether a process listens on this socket file."""
    with unix.socket(unix.AF_UNIX, unix.SOCK_STREAM) as probe:
        probe.settimeout(0.5)
        try:
            probe.connect(os.fspath(path))
        except OSError:
            return False
    return True


def connect(socket: zmq.Socket[Any], endpoint: str, *, curve: CurveClient | None) -> None:
    """Set limits and keys on `socket` and connect it; ConfigError for a refused endpoint."""
    check_endpoint(endpoint, curve=curve is not None)
    _set_options(socket)
    if endpoint.startswith("ipc://"):  # to try costs next to nothing, so nobody has to wait
        socket.setsockopt(zmq.RECONNECT_IVL, LOCAL_RECONNECT_MS)
        socket.setsockopt(zmq.RECONNECT_IVL_MAX, 0)  # no longer each time
    if curve is not None:
        socket.setsockopt(zmq.CURVE_SERVERKEY, curve.server_key.encode("ascii"))
        socket.setsockopt(zmq.CURVE_PUBLICKEY, curve.keys.public.encode("ascii"))
        socket.setsockopt(zmq.CURVE_SECRETKEY, curve.keys.secret.encode("ascii"))
    try:
        socket.connect(endpoint)
    except zmq.ZMQError as error:
        raise ConfigError(f"endpoint {endpoint}: {error.strerror}") from error


def _set_options(socket: zmq.Socket[Any]) -> None:
    for option, value in _OPTIONS.items():
        socket.setsockopt(option, value)


def _bind_path(socket: zmq.Socket[Any], endpoint: str, path: Path, mode: int) -> None:
    if is_served(path):  # libzmq would unlink the file of a living process without a word
        raise ConfigError(f"endpoint {endpoint}: another process serves it")
    try:
        path.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
    except OSError as error:
        raise SystemCallError(
            f"create {path.parent}", error.errno or 0, str(error.strerror)
        ) from error
    former = os.umask(0o777 & ~mode)  # the file never exists with a wider mode, not even shortly
    try:
        _bind(socket, endpoint)
    finally:
        os.umask(former)


def _bind(socket: zmq.Socket[Any], endpoint: str) -> None:
    try:
        socket.bind(endpoint)
    except zmq.ZMQError as error:
        raise SystemCallError(f"bind {endpoint}", error.errno or 0, error.strerror) from error
