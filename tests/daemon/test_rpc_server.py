"""The sockets of an RPC server; what it answers is tested in test_rpc_dispatch and _leases."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from ipaddress import IPv6Address
from typing import TYPE_CHECKING

import pytest

from dstmrouter.config.rpc import RpcSection
from dstmrouter.daemon.rpc_server import RpcServer
from dstmrouter.errors import SystemCallError
from dstmrouter.protocols.dstm_rpc import AllocateArgs, CookieNeeded, Procedure, decode_result
from dstmrouter.protocols.oncrpc import Accepted, AcceptStat, decode_reply
from dstmrouter.protocols.record_marking import mark
from tests.daemon.rpc_peer import StreamPeer, call_of, counted, on_loopback
from tests.daemon.server_process import until

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.daemon.test_server_ledger import Setting

LOOPBACK = IPv6Address("::1")


def test_calls_of_one_connection_are_answered_in_order_however_they_arrive() -> None:
    async def scenario(server: RpcServer, _: Setting) -> None:
        peer = await StreamPeer.connect(server.tcp_port)
        calls = [call_of(version=version) for version in (1, 2, 1)]
        for octet in b"".join(map(mark, calls)):
            peer.write(bytes([octet]))
        for call in calls:
            reply = await peer.reply()
            assert isinstance(reply, Accepted)
            assert reply.xid == int.from_bytes(call[:4], "big")
        assert counted(server) == {"connections": 1, "null-calls": 2, "version-mismatch": 1}
        peer.close()

    on_loopback(scenario)


def test_many_calls_at_once_wait_for_their_turn() -> None:
    async def scenario(server: RpcServer, _: Setting) -> None:
        peer = await StreamPeer.connect(server.tcp_port)
        peer.write(mark(call_of()) * 500)
        await until(lambda: counted(server).get("null-calls") == 500, "all answers")
        peer.close()

    on_loopback(scenario)


@pytest.mark.parametrize(
    ("octets", "counter"),
    [
        (b"GET / HTTP/1.1\r\n\r\n", "records-refused"),
        (b"\x80\x00\x10\x01", "records-refused"),
        (bytes(4), "records-refused"),
        (mark(b"no call."), "no-calls"),
    ],
)
def test_a_stream_without_calls_is_closed(octets: bytes, counter: str) -> None:
    async def scenario(server: RpcServer, _: Setting) -> None:
        peer = await StreamPeer.connect(server.tcp_port)
        peer.write(octets)
        assert await peer.reply() is None
        assert counted(server) == {"connections": 1, counter: 1}
        peer.close()
        other = await StreamPeer.connect(server.tcp_port)
        assert await other.ask(call_of()) is not None
        other.close()

    on_loopback(scenario)


def test_connections_of_one_source_are_limited_as_configured() -> None:
    async def scenario(server: RpcServer, _: Setting) -> None:
        kept = await StreamPeer.connect(server.tcp_port)
        assert await kept.ask(call_of()) is not None
        refused = await StreamPeer.connect(server.tcp_port)
        assert await refused.reply() is None
        assert counted(server)["connections-over-source"] == 1
        kept.close()
        refused.close()

    on_loopback(scenario, per_64=1)


def test_a_connection_without_calls_ends_as_configured() -> None:
    async def scenario(server: RpcServer, _: Setting) -> None:
        idle = await StreamPeer.connect(server.tcp_port)
        assert await idle.reply() is None
        assert counted(server)["connections-idle"] == 1
        idle.close()

    on_loopback(scenario, idle_s=0.1)


def test_client6_must_be_one_that_can_have_a_tunnel() -> None:
    """::1 is the source of these calls, and proven by the handshake."""

    async def scenario(server: RpcServer, setting: Setting) -> None:
        peer = await StreamPeer.connect(server.tcp_port)
        args = AllocateArgs(client6=LOOPBACK).encode()
        reply = await peer.ask(call_of(Procedure.ALLOCATE, args))
        assert isinstance(reply, Accepted)
        assert str(decode_result(reply.results)).count("::1 cannot be the end of a tunnel") == 1
        assert setting.book.lease_of(LOOPBACK) is None
        peer.close()

    on_loopback(scenario)


@contextlib.contextmanager
def datagrams_to(server: RpcServer) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK) as peer:
        assert server.udp_port is not None
        peer.connect(("::1", server.udp_port))
        yield peer


def test_calls_over_udp() -> None:
    async def scenario(server: RpcServer, _: Setting) -> None:
        loop = asyncio.get_running_loop()
        await until(lambda: server.udp_port, "the socket")
        with datagrams_to(server) as peer:
            peer.send(b"no call")
            peer.send(call_of(version=0))
            mismatch = decode_reply(await loop.sock_recv(peer, 4096))
            assert isinstance(mismatch, Accepted)
            assert mismatch.stat is AcceptStat.PROG_MISMATCH
            peer.send(call_of(Procedure.ALLOCATE, AllocateArgs(client6=LOOPBACK).encode()))
            reply = decode_reply(await loop.sock_recv(peer, 4096))
            assert isinstance(reply, Accepted)
            needed = decode_result(reply.results)
            assert isinstance(needed, CookieNeeded)
            again = AllocateArgs(client6=LOOPBACK, cookie=needed.cookie)
            peer.send(call_of(Procedure.ALLOCATE, again.encode()))
            reply = decode_reply(await loop.sock_recv(peer, 4096))
            assert isinstance(reply, Accepted)
            assert "cannot be the end of a tunnel" in str(decode_result(reply.results))
        assert counted(server) == {
            "datagrams": 4,
            "no-calls": 1,
            "version-mismatch": 1,
            "cookies": 1,
            "answers-refused": 1,
        }

    on_loopback(scenario)


def test_without_udp_there_is_no_such_socket() -> None:
    async def scenario(server: RpcServer, _: Setting) -> None:
        assert server.udp_port is None
        peer = await StreamPeer.connect(server.tcp_port)
        assert await peer.ask(call_of()) is not None
        peer.close()

    on_loopback(scenario, udp=False)


def test_a_port_that_is_taken_leaves_no_socket_behind() -> None:
    async def scenario(server: RpcServer, setting: Setting) -> None:
        peer = await StreamPeer.connect(server.tcp_port)
        taken = RpcSection(listen=(LOOPBACK,), port=server.tcp_port, rpcbind="off")
        with pytest.raises(SystemCallError, match="Address already in use"):
            RpcServer(taken, setting.book, None, tunnel=None, handles=None)  # type: ignore[arg-type]
        peer.close()

    on_loopback(scenario)
