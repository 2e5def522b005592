"""ONC RPC for clients, over TCP and UDP on IPv6: the sockets of `[rpc]` and what they share.

A connection is served one call at a time, so what one peer can have us do is bounded by its
connections. Datagrams have no such bound of their own; the duplicate request cache limits both.
"""

from __future__ import annotations

import asyncio
import collections
import contextlib
import secrets
import time
from typing import TYPE_CHECKING, Any, Final

import structlog

from dstmrouter.daemon.admission import Admission
from dstmrouter.daemon.datagram_socket import Datagram, DatagramSocket, DatagramTally
from dstmrouter.daemon.reply_cache import ReplyCache
from dstmrouter.daemon.rpc_dispatch import RpcDispatcher
from dstmrouter.daemon.rpc_leases import Caller, LeaseProcedures, Tunnel
from dstmrouter.daemon.rpc_tally import RpcTally
from dstmrouter.daemon.rpcbind_registration import Registration
from dstmrouter.daemon.stream_connection import Connection, StreamTally
from dstmrouter.daemon.stream_listener import StreamListener, bind_stream
from dstmrouter.daemon.tally import Tally, tally_rows
from dstmrouter.errors import DecodeError
from dstmrouter.protocols.cookies import Cookies
from dstmrouter.protocols.dstm_rpc import VERSION
from dstmrouter.protocols.record_marking import RecordAssembler, mark
from dstmrouter.protocols.rpcbind import TCP6, UDP6, Binding, universal

if TYPE_CHECKING:
    import socket

    from dstmrouter.config.rpc import RpcSection
    from dstmrouter.daemon.lease_handles import LeaseHandles
    from dstmrouter.daemon.lending import Lender
    from dstmrouter.leases.book import LeaseBook

log = structlog.get_logger(__name__)

COOKIE_KEY_LEN: Final = 32  # octets


class RpcServer:
    """Bound when it is made (SystemCallError if it cannot be), serving while `run` runs."""

    def __init__(
        self,
        config: RpcSection,
        book: LeaseBook,
        lender: Lender,
        *,
        tunnel: Tunnel,
        handles: LeaseHandles,
    ) -> None:
        self._config = config
        self._counts: collections.Counter[Tally] = collections.Counter()
        self._replies = ReplyCache(at_work=config.calls, per_source=config.per_64)
        procedures = LeaseProcedures(
            book,
            lender,
            tunnel=tunnel,
            handles=handles,
            cookies=Cookies(secrets.token_bytes(COOKIE_KEY_LEN)),
            clock=time.monotonic,
        )
        self._dispatcher = RpcDispatcher(
            procedures,
            self._replies,
            program=config.program,
            counts=self._counts,
            clock=time.monotonic,
        )
        with contextlib.ExitStack() as undo:
            streams = self._bind_all(undo)
            self._undo = undo.pop_all()
        self.tcp_port: int = streams[0].getsockname()[1]
        admission = Admission(total=config.connections, per_source=config.per_64)
        self.registration = self._registration()
        self._listener = StreamListener(
            streams, self._serve_connection, admission=admission, counts=self._counts
        )

    def _bind_all(self, undo: contextlib.ExitStack) -> list[socket.socket]:
        """The TCP sockets; those for UDP are in `_datagrams`."""
        config, streams = self._config, []
        self._datagrams: list[DatagramSocket] = []
        for address in config.listen:
            stream = bind_stream(address, config.port)
            undo.callback(stream.close)
            streams.append(stream)
            if config.udp:
                datagrams = DatagramSocket(
                    address, config.port, self._serve_datagram, counts=self._counts
                )
                undo.callback(datagrams.close)
                self._datagrams.append(datagrams)
        return streams

    def _registration(self) -> Registration | None:
        """What rpcbind is to know: the first address, for it knows one for each netid."""
        config = self._config
        if config.rpcbind == "off":
            return None
        ports = {TCP6: self.tcp_port, UDP6: self.udp_port}
        bindings = [
            Binding(
                program=config.program,
                version=VERSION,
                netid=netid,
                address=universal(config.listen[0], port),
            )
            for netid, port in ports.items()
            if port is not None
        ]
        return Registration(bindings, required=config.rpcbind == "required")

    @property
    def udp_port(self) -> int | None:
        """The UDP port of the first address; None: there is none."""
        return self._datagrams[0].port if self._datagrams else None

    def close(self) -> None:
        """Close all sockets; a second call does nothing."""
        self._undo.close()

    async def run(self) -> None:
        """Serve until cancelled; then nothing is promised any more."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._serve())
            if self.registration is not None:
                tasks.create_task(self.registration.run())

    async def _serve(self) -> None:
        try:
            for datagrams in self._datagrams:
                datagrams.start()
            log.info("serving RPC", program=hex(self._config.program), port=self.tcp_port)
            await self._listener.run()
        finally:  # at once: to unregister takes a while
            self.close()
            self._replies.close()

    def describe(self) -> dict[str, Any]:
        """Where it listens, and all counters; for a status."""
        kinds = (RpcTally, StreamTally, DatagramTally)
        return {
            "rpc_listen": [f"[{address}]:{self.tcp_port}" for address in self._config.listen],
            "rpcbind": "off" if self.registration is None else self.registration.state,
            "rpc": [row for kind in kinds for row in tally_rows(kind, self._counts)],
        }

    async def _serve_connection(self, connection: Connection) -> None:
        assembler = RecordAssembler(self._config.record_octets)
        caller = Caller(connection.address, connection.port, proven=True)
        self._expect_call(connection)
        while octets := await connection.receive():
            try:
                for record in assembler.receive(octets):
                    response = self._dispatcher.take(record, caller)
                    if response is None:
                        return
                    if isinstance(response, asyncio.Task):
                        # Not cancelled with the connection: copies of the call want it too.
                        response = await asyncio.shield(response)
                    await connection.send(mark(response))
                    self._expect_call(connection)
            except DecodeError:  # the assembler's
                self._counts[RpcTally.RECORD_REFUSED] += 1
                return

    def _expect_call(self, connection: Connection) -> None:
        """Begin the time within which the next call must be complete."""
        connection.deadline = time.monotonic() + self._config.idle_s

    def _serve_datagram(self, datagram: Datagram) -> None:
        def send(done: asyncio.Task[bytes]) -> None:
            if not done.cancelled():
                datagram.reply(done.result())

        caller = Caller(datagram.address, datagram.port, proven=False)
        response = self._dispatcher.take(datagram.octets, caller)
        if isinstance(response, asyncio.Task):
            response.add_done_callback(send)
        elif response is not None:
            datagram.reply(response)
