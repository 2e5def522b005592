"""A lease server with TSP and its clients in a namespace, where they have addresses of their own.

Loopback addresses cannot be the end of a tunnel, so these tests need root.
"""

from __future__ import annotations

import asyncio
import contextlib
import tempfile
from ipaddress import IPv6Address
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Self

from dstmrouter.config.load import load_server
from dstmrouter.daemon.server import LeaseServer
from dstmrouter.daemon.tsp_account import TspAccount, TspAddress
from dstmrouter.daemon.tsp_source import TspSource
from dstmrouter.daemon.tsp_users import new_keys, save_users
from dstmrouter.leases.store import LeaseStore
from lab.netns import Lab, Namespace
from tests.daemon.server_process import DEADLINE_S, config_text
from tests.protocols.tsp_samples import PASSWORD, REALM, USER

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Coroutine, Iterator

SERVER6: Final = "2001:db8:7::1"
CLIENT6: Final = IPv6Address("2001:db8:7:1::7")
OTHER6: Final = IPv6Address("2001:db8:7:2::8")
EVERYTHING: Final = """
mechanisms = ["SCRAM-SHA-256", "DIGEST-MD5", "PLAIN", "ANONYMOUS"]
plain_without_tls = true
anonymous_udp = true
requests_per_s = 1000
burst = 1000
"""


@contextlib.contextmanager
def namespace() -> Iterator[Namespace]:
    """A namespace with the addresses of a server and two clients."""
    with Lab() as lab:
        made = lab.namespace("tsp")
        made.address("lo", *(f"{address}/128" for address in (SERVER6, CLIENT6, OTHER6)))
        yield made


def tsp_config(home: Path, section: str, *, lease: str = "", feed: str = "") -> str:
    """A server.toml with `[tsp]`; its user file is made, too."""
    users = home / "users"
    save_users(users, {USER: new_keys(USER, PASSWORD, digest_realm=REALM)})
    listen = "" if "listen =" in section else f'listen = ["{SERVER6}"]'
    text = config_text(home, lease=lease, feed=feed)
    return f'{text}\n[tsp]\nusers_file = "{users}"\n{listen}\n{section}'


class Lending:
    """A server inside the test's event loop."""

    def __init__(self, server: LeaseServer, home: Path) -> None:
        self.server = server
        self.home = home

    def leases(self) -> dict[str, str]:
        """States of the addresses that are not free."""
        table = self.server._book.table
        rows = [table.get(slot) for slot in range(table.space.capacity)]
        return {str(row.ipv4): row.state.name for row in rows if row.state}

    def counted(self, name: str) -> int:
        tsp = self.server._describe()["tsp"]
        return next(int(row["count"]) for row in tsp if row["name"] == name)

    async def until(self, condition: Callable[[], object]) -> None:
        async with asyncio.timeout(DEADLINE_S):
            while not condition():
                await asyncio.sleep(0.01)


@contextlib.asynccontextmanager
async def lending(section: str = EVERYTHING, *, lease: str = "") -> AsyncIterator[Lending]:
    """Run a server with this `[tsp]` section; `{home}` in it is the server's directory."""
    with contextlib.ExitStack() as undo:
        home = Path(undo.enter_context(tempfile.TemporaryDirectory(prefix="dstm")))
        file = home / "server.toml"
        file.write_text(tsp_config(home, section.replace("{home}", str(home)), lease=lease))
        config = load_server(file)
        store = LeaseStore(config.store.path)
        undo.callback(store.close)
        server = LeaseServer(config, store)
        undo.callback(server.close)
        stop = asyncio.Event()
        running = asyncio.create_task(server.run(stop))
        try:
            yield Lending(server, home)
        finally:
            stop.set()
            await running


def in_namespace(scenario: Callable[[], Coroutine[Any, Any, None]]) -> None:
    """Run `scenario` in an event loop whose sockets are in a namespace."""

    async def bounded() -> None:
        await asyncio.wait_for(scenario(), 4 * DEADLINE_S)

    with namespace() as space, space.entered():
        asyncio.run(bounded())


@contextlib.asynccontextmanager
async def source(
    server: str = f"tsp://[{SERVER6}]", account: TspAccount | None = None
) -> AsyncIterator[TspSource]:
    """A client's source; Ann's account unless another is given."""
    found = TspSource(TspAddress.parse(server), account or TspAccount(user=USER, password=PASSWORD))
    try:
        yield found
    finally:
        await found.close()


class RawClient:
    """A connection over which a test says exactly what it wants."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    @classmethod
    async def connect(cls, *, client6: IPv6Address = CLIENT6, port: int = 3653) -> Self:
        opened = await asyncio.open_connection(SERVER6, port, local_addr=(str(client6), 0))
        return cls(*opened)

    async def say(self, octets: bytes) -> None:
        self.writer.write(octets)
        await self.writer.drain()

    async def hear(self) -> bytes:
        """What comes with the next segment; b"" at the end."""
        async with asyncio.timeout(DEADLINE_S):
            return await self.reader.read(4096)

    async def line(self) -> bytes:
        async with asyncio.timeout(DEADLINE_S):
            return await self.reader.readline()

    async def frame(self) -> bytes:
        header = await self.line()
        assert header.startswith(b"Content-length: ")
        async with asyncio.timeout(DEADLINE_S):
            return await self.reader.readexactly(int(header.removeprefix(b"Content-length: ")))

    async def close(self) -> None:
        self.writer.close()
        with contextlib.suppress(OSError):
            await self.writer.wait_closed()
