"""A LeaseServer inside the test's own event loop, with real sockets and a real store."""

from __future__ import annotations

import asyncio
import contextlib
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from dstmrouter.config.load import load_server
from dstmrouter.daemon.server import LeaseServer
from dstmrouter.leases.store import LeaseStore
from dstmrouter.zmqctl import AsyncControlClient
from tests.daemon.server_process import config_text

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


@contextlib.asynccontextmanager
async def lending_server(
    *, lease: str = "", feed: str = "", pool: str = ""
) -> AsyncIterator[AsyncControlClient]:
    """Run a server; the client of its operators' socket."""
    with contextlib.ExitStack() as undo:
        home = Path(undo.enter_context(tempfile.TemporaryDirectory(prefix="dstm")))
        file = home / "server.toml"
        file.write_text(config_text(home, lease=lease, feed=feed, pool=pool))
        config = load_server(file)
        store = LeaseStore(config.store.path)
        undo.callback(store.close)
        server = LeaseServer(config, store)
        undo.callback(server.close)
        stop = asyncio.Event()
        running = asyncio.create_task(server.run(stop))
        try:
            async with AsyncControlClient(config.control.bind) as ctl:
                yield ctl
        finally:
            stop.set()
            await running
