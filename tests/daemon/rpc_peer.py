"""The client's side of RPC on sockets, in as few lines as possible, for tests of a server."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import tempfile
from ipaddress import IPv6Address
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dstmrouter.config.rpc import RpcSection
from dstmrouter.daemon.lending import Lender
from dstmrouter.daemon.rpc_server import RpcServer
from dstmrouter.protocols import dstm_rpc
from dstmrouter.protocols.oncrpc import Call, decode_reply, encode_call
from dstmrouter.protocols.record_marking import RecordAssembler, mark
from tests.daemon.rpc_setting import HANDLES, TUNNEL
from tests.daemon.server_process import DEADLINE_S
from tests.daemon.test_server_ledger import Setting

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Coroutine

    from dstmrouter.protocols.oncrpc import Reply

XIDS = itertools.count(1)


def call_of(procedure: int = 0, arguments: bytes = b"", version: int = 1) -> bytes:
    return encode_call(
        Call(
            xid=next(XIDS),
            program=dstm_rpc.PROGRAM,
            version=version,
            procedure=procedure,
            arguments=arguments,
        )
    )


class StreamPeer:
    """A connection to a server."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self._assembler = RecordAssembler()
        self._records: list[bytes] = []

    @classmethod
    async def connect(cls, port: int, server: str = "::1", source: str | None = None) -> StreamPeer:
        local = None if source is None else (source, 0)
        return cls(*await asyncio.open_connection(server, port, local_addr=local))

    def write(self, octets: bytes) -> None:
        self._writer.write(octets)

    async def reply(self) -> Reply | None:
        """The next reply; None: the server has closed."""
        async with asyncio.timeout(DEADLINE_S):
            while not self._records:
                try:
                    octets = await self._reader.read(4096)
                except ConnectionResetError:
                    return None
                if not octets:
                    return None
                self._records += self._assembler.receive(octets)
        return decode_reply(self._records.pop(0))

    async def ask(self, call: bytes) -> Reply | None:
        self.write(mark(call))
        return await self.reply()

    def close(self) -> None:
        self._writer.close()


@contextlib.asynccontextmanager
async def serving(config: RpcSection, setting: Setting, *required: str) -> AsyncIterator[RpcServer]:
    """A server on the sockets of `config`."""
    lender = Lender(
        setting.book, setting.ledger, setting.feed, required=required, ack_timeout_s=0.5
    )
    server = RpcServer(config, setting.book, lender, tunnel=TUNNEL, handles=HANDLES)
    running = asyncio.create_task(server.run())
    try:
        yield server
    finally:
        running.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await running


def counted(server: RpcServer) -> dict[str, int]:
    """What was counted, without zeros."""
    return {row["name"]: row["count"] for row in server.describe()["rpc"] if row["count"]}


def on_loopback(
    scenario: Callable[[RpcServer, Setting], Coroutine[Any, Any, None]], **settings: Any
) -> None:
    """Run `scenario` with a server on ::1 and free ports, over a settling ledger."""
    config = RpcSection(listen=(IPv6Address("::1"),), port=0, rpcbind="off", **settings)

    async def run(home: Path) -> None:
        setting = Setting(home, set())
        settling = asyncio.create_task(setting.ledger.run_settling())
        try:
            async with asyncio.timeout(DEADLINE_S), serving(config, setting) as server:
                await scenario(server, setting)
        finally:
            settling.cancel()
            setting.feed.undo.close()
            setting.store.close()

    with tempfile.TemporaryDirectory(prefix="dstm") as home:
        asyncio.run(run(Path(home)))
