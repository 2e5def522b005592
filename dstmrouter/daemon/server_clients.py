"""The protocols in which clients ask a server, those of them that its configuration has."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Any

import structlog

from dstmrouter.daemon.lease_handles import LeaseHandles, load_key
from dstmrouter.daemon.rpc_leases import Tunnel
from dstmrouter.daemon.rpc_server import RpcServer
from dstmrouter.daemon.tsp_server import TspServer
from dstmrouter.errors import ConfigError

if TYPE_CHECKING:
    from pathlib import Path

    from dstmrouter.config.server import ServerConfig
    from dstmrouter.daemon.lending import Lender
    from dstmrouter.leases.book import LeaseBook

log = structlog.get_logger(__name__)
_RPC_KEY: str = ".rpc-key"  # file beside the store; must be the same after a restart


class ClientServers:
    """Listens from the beginning, answers while `run` is under way."""

    def __init__(self, config: ServerConfig, store: Path, book: LeaseBook, lender: Lender) -> None:
        self._config = config
        with contextlib.ExitStack() as undo:
            self._rpc = self._open_rpc(store.with_name(store.name + _RPC_KEY), book, lender)
            if self._rpc is not None:
                undo.callback(self._rpc.close)
            self._tsp = self._open_tsp(book, lender)
            if self._tsp is not None:
                undo.callback(self._tsp.close)
            self._undo = undo.pop_all()

    def _open_rpc(self, key_file: Path, book: LeaseBook, lender: Lender) -> RpcServer | None:
        config, tep = self._config.rpc, self._config.tep
        if config is None:
            return None
        tunnel = Tunnel(tep6=tep.tep6[0], tep4=tep.tep4, mtu=config.mtu)
        key_file.parent.mkdir(parents=True, exist_ok=True)  # PostgreSQL keeps nothing there
        handles = LeaseHandles(load_key(key_file))
        return RpcServer(config, book, lender, tunnel=tunnel, handles=handles)

    def _open_tsp(self, book: LeaseBook, lender: Lender) -> TspServer | None:
        config = self._config.tsp
        return None if config is None else TspServer(config, self._config, lender, book)

    async def run(self) -> None:
        """Answer until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            for server in (self._rpc, self._tsp):
                if server is not None:
                    tasks.create_task(server.run())

    def stop(self) -> None:
        """Begin nothing new; what is under way may end."""
        if self._tsp is not None:
            self._tsp.stop()

    def reload(self) -> None:
        """Read users and certificates again; a mistake in them is logged, and nothing changes."""
        try:
            if self._tsp is not None:
                self._tsp.reload()
        except ConfigError as error:
            log.warning("not reloaded", reason=str(error))
        else:
            log.info("users and certificates read again")

    def describe(self) -> dict[str, Any]:
        """What status says of them."""
        servers = (self._rpc, self._tsp)
        return {k: v for one in servers if one is not None for k, v in one.describe().items()}

    def close(self) -> None:
        """Close all sockets; a second call does nothing."""
        self._undo.close()
