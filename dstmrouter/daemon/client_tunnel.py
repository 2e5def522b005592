"""The tunnel of a client that leases: made, changed and removed while the event loop runs.

Netlink blocks, and pyroute2 brings an event loop of its own, so it has a thread; the packets of a
TUN device are carried in the loop (`daemon.client_carrying`). With `on_demand` the device is there
before the lease, and its first packet is the sign that IPv4 is wanted.
"""

from __future__ import annotations

import asyncio
import functools
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack
from ipaddress import IPv4Network
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, ParamSpec, Self, TypeVar

from dstmrouter.daemon.client_carrying import Carrying, Waiting
from dstmrouter.daemon.dti_link import bring_up, former_ends, kinds_of, remove
from dstmrouter.dti import killswitch, nat
from dstmrouter.dti.counters import Counters
from dstmrouter.dti.host import Host
from dstmrouter.dti.plan import Address, Ends, Found, Uses, plan_waiting
from dstmrouter.dti.state import Claim
from dstmrouter.dti.tunnel import MTU_DEFAULT, TABLE_MAIN, Kind, Tunnel
from dstmrouter.dti.waiting import INTERIM4

if TYPE_CHECKING:
    from collections.abc import Callable

    from dstmrouter.config.client import TunnelSection
    from dstmrouter.errors import DstmError
    from dstmrouter.protocols.granted import GrantedLease

P = ParamSpec("P")
T = TypeVar("T")

# The kernel then gives TCP connections that are being opened the address that dti gets meanwhile
# (Documentation/networking/ip-sysctl.rst, ip_dynaddr).
DYNADDR: Final = Path("/proc/sys/net/ipv4/ip_dynaddr")


class ClientTunnel:
    """dti; `on_demand` is called for every packet before there is a lease, `on_lost` when dti is.

    A context manager: at its end nothing is left, the kill switch included.
    """

    def __init__(
        self,
        config: TunnelSection,
        run_dir: Path,
        *,
        on_demand: Callable[[], None] | None,
        on_lost: Callable[[DstmError], None],
    ) -> None:
        self._config = config
        self._run_dir = run_dir
        self._on_demand = on_demand
        self._on_lost = on_lost
        self._kinds = kinds_of(config.backend, on_demand=on_demand is not None)
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="netlink")
        self._undo = AsyncExitStack()
        self._tunnel: Tunnel | None = None
        self._ends: Ends | None = None  # of the tunnel made last
        self._work: Carrying | Waiting | None = None

    async def __aenter__(self) -> Self:
        async with AsyncExitStack() as undo:
            undo.callback(self._thread.shutdown)
            self._claim = Claim(self._run_dir, self._config.name)
            undo.callback(self._claim.release)
            self._counters = Counters(self._claim.counters)
            undo.callback(self._counters.close)
            self._host = await self._do(Host)
            undo.push_async_callback(self._close_host)
            if self._config.kill_switch:
                await self._do(killswitch.turn_on)
                undo.push_async_callback(self._do, killswitch.turn_off)
            undo.push_async_callback(self._drop)
            self._ends = former_ends(self._claim)
            await self._drop()
            if self._on_demand is not None:
                undo.callback(DYNADDR.write_text, DYNADDR.read_text())
                DYNADDR.write_text("1")
                await self._wait(Found())
            self._undo = undo.pop_all()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._undo.aclose()

    async def set_up(self, lease: GrantedLease) -> None:
        """Make dti what `lease` says; DstmError if that cannot be, and nothing is left then."""
        waiting = self._stop()
        try:
            await self._make(self._tunnel_of(lease), waiting)
        except BaseException:
            await self._drop()
            raise

    async def _make(self, tunnel: Tunnel, waiting: list[bytes]) -> None:
        self._ends = Ends(tunnel.client6, tunnel.tep6, tunnel.interface, tunnel.encap_limit)
        kind = await self._do(bring_up, self._host, tunnel, self._kinds, self._claim)
        self._kinds = (kind,)
        self._tunnel = tunnel
        if kind is Kind.TUN:
            assert self._host.tun is not None
            self._work = Carrying(self._host.tun, tunnel, self._counters, self._on_lost)
            self._work.send_late(waiting)

    async def clear(self) -> None:
        """Take the lease off dti; on demand, the device stays and waits for packets."""
        if self._on_demand is None:
            await self._drop()
        elif not isinstance(self._work, Waiting):
            self._stop()
            tunnel, self._tunnel = self._tunnel, None
            await self._wait(await self._do(self._host.look, tunnel) if tunnel else Found())
            await self._do(nat.remove, self._config.name)

    async def octets(self) -> dict[str, dict[str, int]]:
        """Counters by name, as in `dti.counters`."""
        if self._kinds == (Kind.IP6TNL,):
            return await self._do(self._host.octets, self._config.name)
        return self._counters.snapshot()

    async def native4(self) -> str | None:
        """Which of the wanted routes the host has already, through another interface."""
        if self._config.kill_switch:
            return None
        return await self._do(self._host.native_route, self._config.name, self._config.routes)

    def _tunnel_of(self, lease: GrantedLease) -> Tunnel:
        """What a server says is no more than a wish: DstmError if it makes no tunnel."""
        config = self._config
        routes = config.routes
        if config.kill_switch:  # the kernel puts the way to the peer into the main table
            routes += (IPv4Network(lease.tep4),)
        return Tunnel(
            client4=lease.client4,
            client6=lease.client6,
            tep6=lease.tep6,
            tep4=lease.tep4,
            interface=config.interface,
            name=config.name,
            mtu=config.mtu or lease.mtu or MTU_DEFAULT,
            encap_limit=config.encap_limit,
            routes=tuple(dict.fromkeys(routes)),
            table=self._table,
            port_set=lease.port_set,
        )

    @property
    def _table(self) -> int:
        return killswitch.TABLE if self._config.kill_switch else TABLE_MAIN

    async def _wait(self, found: Found) -> None:
        """Let dti, which is as `found`, collect packets until there is a lease."""
        assert self._on_demand is not None
        mtu = self._config.mtu or MTU_DEFAULT
        uses = Uses(self._config.name, mtu, Address(INTERIM4, None), self._table)
        for step in plan_waiting(uses, self._config.routes, found):
            await self._do(self._host.carry_out, step)
        assert self._host.tun is not None
        self._work = Waiting(self._host.tun, self._counters, self._on_demand, self._on_lost)

    def _stop(self) -> list[bytes]:
        """Let packets be; those that waited and are still worth sending."""
        work, self._work = self._work, None
        return work.stop() if work is not None else []

    async def _drop(self) -> None:
        """Remove dti."""
        self._stop()
        self._tunnel = None
        if self._host.tun is not None:
            await self._close_host()
            self._host = await self._do(Host)
        await self._do(remove, self._host, self._config.name, self._ends)

    async def _close_host(self) -> None:
        await self._do(self._host.close)

    async def _do(self, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Do it in the thread for netlink, to its end even if nobody waits for it any more."""
        loop = asyncio.get_running_loop()
        done: Any = loop.run_in_executor(self._thread, functools.partial(work, *args, **kwargs))
        return await asyncio.shield(done)
