"""`dstm-client` with a server: carries out what its `Lifecycle` decides, and tells it what happens.

Everything that happens becomes a fact in one queue, so the life of a client is one sequence. What
takes long (looking for servers, asking, pinging, hooks) runs beside it and ends in a fact.
"""

from __future__ import annotations

import asyncio
import random
import signal
from typing import TYPE_CHECKING, Final

import structlog

from dstmrouter.daemon.client_address import watch_network
from dstmrouter.daemon.client_asking import Asking
from dstmrouter.daemon.client_facts import Facts
from dstmrouter.daemon.client_hooks import Hooks
from dstmrouter.daemon.client_sources import Sources
from dstmrouter.daemon.client_status import StatusBoard, boottime
from dstmrouter.daemon.client_tunnel import ClientTunnel
from dstmrouter.daemon.client_upkeep import Upkeep
from dstmrouter.daemon.notify import notify
from dstmrouter.errors import DstmError
from dstmrouter.protocols.clientaction import (
    Abandon,
    Action,
    Ask,
    Clear,
    Discover,
    Release,
    SetUp,
    Tell,
    Verify,
)
from dstmrouter.protocols.clientstate import State
from dstmrouter.protocols.lifecycle import Lifecycle

if TYPE_CHECKING:
    from collections.abc import Callable

    from dstmrouter.config.client import ClientConfig
    from dstmrouter.daemon.client_servers import ServerSource
    from dstmrouter.protocols.granted import GrantedLease

log = structlog.get_logger(__name__)

LOOK_S: Final = 10.0  # the event loop's clock stands still while the host sleeps; leases do not


class ClientDaemon:
    """One client with one interface; make it inside the event loop, then `run` it once."""

    def __init__(self, config: ClientConfig, source_of: Callable[[str], ServerSource]) -> None:
        self._config = config
        tunnel = config.tunnel
        self._board = StatusBoard(config.client.run_dir, tunnel.name)
        self._life = Lifecycle(random.random, self._board.remembered())
        self._facts = Facts()
        self._on_demand = config.client.mode == "demand"
        self._demanded = False
        self._stopping = False
        self._shown = State.INIT
        self._tunnel = ClientTunnel(
            tunnel,
            config.client.run_dir,
            on_demand=self._packet_waits if self._on_demand else None,
            on_lost=self._facts.fail,
        )
        self._asking = Asking(config, self._life, self._facts, self._tunnel, source_of)
        self._upkeep = Upkeep(config, self._life, self._facts, self._tunnel)
        self._hooks = Hooks(config.hooks, tunnel.name)

    async def run(self, stop: asyncio.Event) -> None:
        """Lease until `stop`; DstmError when that cannot go on. Nothing is left behind."""
        async with self._tunnel:
            self._board.clear()  # a killed client's
            try:
                await self._live(stop)
                await self._hooks.finish()
            finally:
                await self._asking.close()
                await self._upkeep.stop()
                await self._facts.close()
                self._board.clear()

    async def _live(self, stop: asyncio.Event) -> None:
        start, happened = self._facts.start, self._facts.happened
        start(self._hooks.run())
        start(watch_network(lambda: happened(self._asking.look_at_network)))
        start(self._wait_for(stop))
        if self._on_demand:
            start(self._upkeep.watch_use(self._idle))
        else:
            self._life.want(boottime())
        notify("READY=1")  # without a lease: that there is no server now is no failure of ours
        while True:
            await self._carry_out_all()
            self._board.show(self._life, **self._asking.describe())
            if self._stopping and self._life.state is State.INIT:
                return
            fact = await self._facts.next(self._pause_s())
            now = boottime()
            fact(now)
            self._life.handle_timer(now)

    def _pause_s(self) -> float:
        due = self._life.next_timer()
        return LOOK_S if due is None else min(max(due - boottime(), 0.0), LOOK_S)

    async def _carry_out_all(self) -> None:
        while actions := self._life.actions():
            for action in actions:
                await self._carry_out(action)
        if self._shown is not self._life.state:
            self._shown = self._life.state
            log.info("state", state=self._shown.name)
            notify(f"STATUS={self._shown.name}: {self._shown.value}")

    async def _carry_out(self, action: Action) -> None:
        match action:
            case Discover():
                self._asking.discover()
            case Ask():
                self._asking.ask(action)
            case Abandon():
                await self._asking.abandon()
            case Release():
                self._asking.release(action.lease, action.server)
            case Tell():
                self._tell(action)
            case SetUp() | Verify() | Clear():
                await self._change_tunnel(action)

    async def _change_tunnel(self, action: SetUp | Verify | Clear) -> None:
        match action:
            case SetUp():
                await self._upkeep.stop()
                await self._set_up(action.lease)
            case Verify() if self._life.term is not None:  # else there was no tunnel
                verify = self._config.keepalive.verify
                await self._upkeep.begin(self._life.term.lease, verify=verify)
                if not verify:
                    self._life.verified(boottime())
            case Clear():
                await self._upkeep.stop()
                await self._tunnel.clear()
                self._life.cleared(boottime())

    async def _set_up(self, lease: GrantedLease) -> None:
        try:
            await self._tunnel.set_up(lease)
        except DstmError as error:
            log.warning("no tunnel", reason=str(error))
            self._asking.error = str(error)
            self._life.impossible(boottime())

    def _tell(self, told: Tell) -> None:
        event = "release" if told.ended else "renew" if told.renewed else "bind"
        reason = None if told.ended is None else told.ended.value
        who = self._asking.describe()
        ports = {} if told.lease.port_set is None else {"port_set": str(told.lease.port_set)}
        client4 = str(told.lease.client4)
        log.info(event, client4=client4, **ports, reason=reason, server=who["server"])
        self._hooks.tell(
            event, told.lease, reason=reason, server=who["server"], protocol=who["protocol"]
        )
        if event == "bind":
            self._board.remember(told.lease.client4)

    async def _wait_for(self, stop: asyncio.Event) -> None:
        await stop.wait()
        self._facts.happened(self._stop)

    def _stop(self, _now: float) -> None:
        notify("STOPPING=1")
        self._stopping = True
        self._life.unwant()

    def _packet_waits(self) -> None:
        if not self._demanded and not self._life.wanted:
            self._demanded = True
            self._facts.happened(self._want)

    def _want(self, now: float) -> None:
        self._demanded = False
        if not self._stopping:
            self._life.want(now)

    def _idle(self, _now: float) -> None:
        if self._life.wanted:
            log.info("nobody uses the tunnel", for_s=self._config.client.idle_s)
            self._life.unwant()


async def lease(config: ClientConfig) -> None:
    """Be a client that leases until SIGTERM, SIGINT or SIGHUP."""
    sources = Sources(config)
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        loop.add_signal_handler(number, stop.set)
    await ClientDaemon(config, sources.of).run(stop)
    log.info("stopped")
