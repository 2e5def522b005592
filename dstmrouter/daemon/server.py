"""`dstm-server`: one process that lends addresses and tells the routers.

Three sockets: the feed (PUB) and its control (ROUTER) for routers, and a control of its own for
operators, because a router has no business granting leases and the two have other peers and keys.

Start: open the store, load, begin a new epoch; every router asks for a snapshot then. End:
stop listening, finish what is being settled, close the store. A kill at any time is as good.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import gc
import os
import signal
import sys
import time
from typing import TYPE_CHECKING, Any, Final

import structlog

from dstmrouter.config.fields import is_remote
from dstmrouter.daemon.lending import Lender
from dstmrouter.daemon.notify import notify
from dstmrouter.daemon.server_alarms import AlarmWatch
from dstmrouter.daemon.server_clients import ClientServers
from dstmrouter.daemon.server_control import LeaseControl
from dstmrouter.daemon.server_history import HistoryControl
from dstmrouter.daemon.server_rules import request_throttle
from dstmrouter.daemon.server_store import book_for, ledger_for, open_history, open_store
from dstmrouter.errors import DstmError
from dstmrouter.leases.state import BOUND
from dstmrouter.zmqctl.control import ControlServer, Handler
from dstmrouter.zmqctl.fields import EPOCH_OCTETS
from dstmrouter.zmqctl.keys import CurveServer, load_keys
from dstmrouter.zmqctl.publisher import FeedPublisher

if TYPE_CHECKING:
    from collections.abc import Mapping

    from dstmrouter.binding import BindingColumns
    from dstmrouter.config.model import CurveConfig
    from dstmrouter.config.server import ServerConfig
    from dstmrouter.daemon.server_store import Store
    from dstmrouter.leases.lease import Lease

log = structlog.get_logger(__name__)

SWITCH_S: Final = 0.0005
"""How long the thread that writes leases may wait for the interpreter: ten times less than usual.

It waits at every step of a transaction while the event loop is busy, and all clients wait for it.
"""
GARBAGE: Final = 20_000
"""New objects before the interpreter looks for cycles among them; its 700 cost 10 % of our time."""


class LeaseServer:
    """Everything of one server run; make it inside the event loop, then `run` it once."""

    def __init__(self, config: ServerConfig, store: Store) -> None:
        self._config = config
        self._started = time.monotonic()
        self._epoch = os.urandom(EPOCH_OCTETS)
        self._tep6 = config.tep.tep6
        self._store = store
        self._book = book_for(config, store)
        self._alarms = AlarmWatch(self._book)
        self._throttle = request_throttle(config)
        self._superseded = self._restore()
        keys = curve_server(config.curve)
        with contextlib.ExitStack() as undo:
            self._routers = _control(config.feed.control, keys, {})
            undo.callback(self._routers.close)
            self._feed = self._publisher(keys)
            undo.callback(self._feed.close)
            self._ledger = ledger_for(self._book, store, self._feed, config, self._removing_routers)
            self._lender = Lender(
                self._book,
                self._ledger,
                self._feed,
                required=config.feed.required,
                ack_timeout_s=config.feed.ack_timeout_s,
                throttle=self._throttle,
            )
            history = open_history(config.store)
            self._history = HistoryControl(history, keep_days=config.history.keep_days)
            undo.callback(self._history.close)
            self._control = _control(config.control.bind, keys, self._handlers())
            undo.callback(self._control.close)
            self._clients = ClientServers(config, config.store.path, self._book, self._lender)
            undo.callback(self._clients.close)
            self._undo = undo.pop_all()

    def _publisher(self, keys: CurveServer | None) -> FeedPublisher:
        feed = self._config.feed
        return FeedPublisher(
            epoch=self._epoch,
            feed=feed.bind,
            control=self._routers,
            curve=_curve_for(feed.bind, keys),
            snapshot=self._snapshot,
            heartbeat_s=feed.heartbeat_s,
        )

    def _handlers(self) -> Mapping[str, Handler]:
        """What operators may ask."""
        leases = LeaseControl(self._book, self._lender, self._alarms, describe=self._describe)
        return {**leases.handlers(), **self._history.handlers()}

    def _restore(self) -> list[Lease]:
        stored = self._store.load()
        unknown = int((self._book.space.slots(stored.ipv4, stored.port_sets) < 0).sum())
        if unknown:
            log.warning("stored leases are of no pool any more", count=unknown)
        return self._book.restore(stored)

    def close(self) -> None:
        """Close all sockets; a second call does nothing."""
        self._undo.close()

    def reload(self) -> None:
        """Read users and certificates again; what is wrong with them is in the log."""
        self._clients.reload()

    async def run(self, stop: asyncio.Event) -> None:
        """Serve until `stop`; a store that cannot write raises `StoreError`."""
        async with asyncio.TaskGroup() as tasks:
            settling = (self._ledger.run_settling(), self._feed.run(), self._routers.run())
            settlers = [tasks.create_task(one) for one in settling]
            await self._ledger.resume(self._superseded)
            changing = (
                self._ledger.run_following(),
                self._ledger.run_removal(),
                self._ledger.run_expiry(),
                self._alarms.run(),
                self._history.run(),
                self._control.run(),
                self._clients.run(),
            )
            changers = [tasks.create_task(one) for one in changing]
            notify("READY=1")
            await stop.wait()
            notify("STOPPING=1")
            self._control.close()  # nothing new is promised from here on
            self._clients.stop()
            for task in changers:
                task.cancel()
            await self._ledger.drain()
            for task in settlers:
                task.cancel()

    def _snapshot(self) -> tuple[int, BindingColumns]:
        """Everything routers must have, and the generation it is at least as new as.

        It may show a change that is still on its way to the store and the feed. That change then
        comes as a delta and says the same again; nothing was promised on it before.
        """
        now = time.monotonic()
        return self._feed.generation, self._book.bindings(now, self._tep6)

    def _removing_routers(self) -> frozenset[str]:
        """Routers that may have a binding: the required ones, and all that this run has heard of.

        One that was silent for longer than any binding lives has none any more.
        """
        longest_s = self._config.lease.max_s + self._config.lease.grace_s
        heard = (router.name for router in self._feed.routers() if router.heard_s < longest_s)
        return frozenset(self._config.feed.required).union(heard)

    def _describe(self) -> dict[str, Any]:
        return {
            "server": self._config.server.name,
            "store": self._store.name,
            **self._ledger.describe(),
            "uptime_s": round(time.monotonic() - self._started, 1),
            "epoch": self._epoch.hex(),
            "generation": self._feed.generation,
            "rate_limited": self._throttle.refused,
            "bound": len(self._book.table.in_states(BOUND)),
            "tep6": [str(address) for address in self._tep6],
            "tep4": str(self._config.tep.tep4),
            "required": list(self._config.feed.required),
            "routers": [dataclasses.asdict(router) for router in self._feed.routers()],
            **self._clients.describe(),
        }


def curve_server(config: CurveConfig | None) -> CurveServer | None:
    """Our keys and whom we let in; ConfigError when the key file cannot be used."""
    if config is None:
        return None
    allowed = {peer.public_key: peer.name for peer in config.allowed}
    return CurveServer(load_keys(config.secret_key_file), allowed)


def _curve_for(endpoint: str, keys: CurveServer | None) -> CurveServer | None:
    """The keys for `endpoint`: an ipc socket is guarded by the mode of its file."""
    return keys if is_remote(endpoint) else None


def _control(
    endpoint: str, keys: CurveServer | None, handlers: Mapping[str, Handler]
) -> ControlServer:
    return ControlServer(endpoint, curve=_curve_for(endpoint, keys), handlers=handlers)


async def serve(config: ServerConfig) -> None:
    """Run a server until SIGTERM or SIGINT; SIGHUP reloads."""
    sys.setswitchinterval(SWITCH_S)
    gc.set_threshold(GARBAGE)
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    with contextlib.ExitStack() as undo:
        store = open_store(config.store)
        undo.callback(store.close)
        server = LeaseServer(config, store)
        undo.callback(server.close)
        gc.freeze()  # the leases so far are no garbage
        loop.add_signal_handler(signal.SIGHUP, server.reload)
        log.info("serving", server=config.server.name, store=store.name)
        try:
            await server.run(stop)
        except ExceptionGroup as group:  # what a task of the server ended with
            raise _cause(group) from None
        log.info("stopped")


def _cause(group: ExceptionGroup) -> Exception:
    """The one expected error in `group`, or all of it."""
    first: Exception = group
    while isinstance(first, ExceptionGroup):
        first = first.exceptions[0]
    return first if isinstance(first, DstmError) else group
