"""What is done for a lease while it is there: pings through the tunnel, and a look at its use."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from dstmrouter.daemon.client_facts import end
from dstmrouter.daemon.client_keepalive import Prober

if TYPE_CHECKING:
    from collections.abc import Callable

    from dstmrouter.config.client import ClientConfig
    from dstmrouter.daemon.client_facts import Facts
    from dstmrouter.daemon.client_tunnel import ClientTunnel
    from dstmrouter.protocols.granted import GrantedLease
    from dstmrouter.protocols.lifecycle import Lifecycle

KEEPALIVE_S: Final = 30.0  # RFC 5572 section 4.6
LOOKS: Final = 4  # at the use of the tunnel, per idle time
IN: Final = ("in_delivered", "in_delivered_ecn")
USED: Final = (*IN, "out_sent", "out_waiting", "out_no_lease")


class Upkeep:
    """Reports of the other end become facts for `life`."""

    def __init__(
        self, config: ClientConfig, life: Lifecycle, facts: Facts, tunnel: ClientTunnel
    ) -> None:
        self._config = config
        self._life = life
        self._facts = facts
        self._tunnel = tunnel
        self._prober: Prober | None = None
        self._probing: asyncio.Task[None] | None = None
        self._own_packets = 0  # of former probers

    async def begin(self, lease: GrantedLease, *, verify: bool) -> None:
        """Ping for `lease` from now on; with `verify`, tell at once whether that is answered."""
        await self.stop()
        keepalive = self._config.keepalive
        self._prober = Prober(
            lease.client4,
            lease.tep4,
            self._config.tunnel.name,
            reply_s=keepalive.reply_s,
            losses=keepalive.losses,
            received=self._received,
        )
        self._probing = self._facts.start(self._probe(self._prober, lease, verify=verify))

    async def stop(self) -> None:
        """Ping no more."""
        await end(self._probing)
        if self._prober is not None:
            self._own_packets += self._prober.packets
        self._prober = self._probing = None

    async def watch_use(self, on_idle: Callable[[float], None]) -> None:
        """Let `on_idle` be a fact whenever nobody has used the tunnel for `idle_s`."""
        idle_s = self._config.client.idle_s
        used, looks = -1, 0
        while True:
            await asyncio.sleep(idle_s / LOOKS)
            now_used = await self._packets(USED) - self._own()
            looks = looks + 1 if now_used == used else 0
            used = now_used
            if looks >= LOOKS:
                self._facts.happened(on_idle)
                looks = 0

    async def _probe(self, prober: Prober, lease: GrantedLease, *, verify: bool) -> None:
        def report(alive: bool) -> None:
            self._facts.happened(lambda now: self._take(prober, now, alive=alive))

        alive = True
        if verify:
            alive = await prober.answers()
            report(alive)
        given, offered = self._config.keepalive.interval_s, lease.keepalive_s
        interval_s = given if given is not None else offered if offered is not None else KEEPALIVE_S
        if interval_s > 0:
            await prober.watch(interval_s, report, silent=not alive)

    def _take(self, prober: Prober, now: float, *, alive: bool) -> None:
        """Pass a report on, unless it is about a lease of before."""
        if prober is self._prober:
            (self._life.verified if alive else self._life.silent)(now)

    async def _received(self) -> int:
        return await self._packets(IN)

    async def _packets(self, names: tuple[str, ...]) -> int:
        octets = await self._tunnel.octets()
        return sum(octets[name]["packets"] for name in names if name in octets)

    def _own(self) -> int:
        return self._own_packets + (self._prober.packets if self._prober is not None else 0)
