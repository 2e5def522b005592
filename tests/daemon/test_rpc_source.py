"""`RpcSource` with the real server, from addresses of its own."""

from __future__ import annotations

import asyncio
import tempfile
from ipaddress import IPv6Address
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import pytest

from dstmrouter.config.rpc import RpcSection
from dstmrouter.daemon.lease_source import LeaseSource, SourceError
from dstmrouter.daemon.rpc_source import Asker, RpcSource
from dstmrouter.daemon.rpcbind_client import local_rpcbind
from dstmrouter.leases.book import LeaseBook
from dstmrouter.leases.pool import AddressSpace, Pool
from dstmrouter.leases.sharing import Sharing
from dstmrouter.leases.state import State
from dstmrouter.protocols.dstm_rpc import (
    PROGRAM,
)
from dstmrouter.protocols.granted import PortSet
from dstmrouter.protocols.rpcbind import Binding, universal
from tests.daemon.rpc_hosts import SERVER6, hosts
from tests.daemon.rpc_peer import counted, serving
from tests.daemon.rpcbind_process import needs_rpcbind, rpcbind_in
from tests.daemon.server_process import DEADLINE_S
from tests.daemon.test_server_ledger import Setting
from tests.leases.lending import FIRST, TEP6, TERMS, client

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from dstmrouter.daemon.rpc_server import RpcServer
    from lab.netns import Namespace

Way = Literal["tcp", "udp"]
WAYS: list[Way] = ["tcp", "udp"]
LOOPBACK = IPv6Address("::1")
BOB = Asker(client_id=b"bob", psid_len=4)
HALF = PortSet(psid_offset=0, psid_len=1, psid=1)  # the other one has the system ports


class Served:
    """A server in a namespace, and sources that ask it."""

    def __init__(self, space: Namespace, setting: Setting, server: RpcServer, way: Way) -> None:
        self.space = space
        self.setting = setting
        self.server = server
        self._way: Way = way

    @property
    def port(self) -> int:
        port = self.server.tcp_port if self._way == "tcp" else self.server.udp_port
        assert port is not None
        return port

    def source(self, **changes: Any) -> LeaseSource:
        fields: dict[str, Any] = {"port": self.port, "transport": self._way}
        return RpcSource(str(SERVER6), **(fields | changes))


def served(
    scenario: Callable[[Served], Coroutine[Any, Any, None]],
    way: Way,
    *required: str,
    pool: Pool | None = None,
) -> None:
    """Run `scenario` in a namespace with a server, which lends from `pool`."""
    book = None if pool is None else LeaseBook(AddressSpace([pool]), TERMS, tep6=[TEP6])

    async def run(space: Namespace, home: Path) -> None:
        setting = Setting(home, set(), book)
        settling = asyncio.create_task(setting.ledger.run_settling())
        config = RpcSection(port=0, rpcbind="off")
        try:
            async with (
                asyncio.timeout(DEADLINE_S),
                serving(config, setting, *required) as server,
            ):
                await scenario(Served(space, setting, server, way))
        finally:
            settling.cancel()
            setting.feed.undo.close()
            setting.store.close()

    with (
        hosts() as space,
        tempfile.TemporaryDirectory(prefix="dstm") as home,
        space.entered(),
    ):
        asyncio.run(run(space, Path(home)))


@pytest.mark.netns
@pytest.mark.parametrize("way", WAYS)
def test_a_lease_from_obtain_to_release(way: Way) -> None:
    async def scenario(served: Served) -> None:
        source = served.source(asker=Asker(client_id=b"ann"))
        lease = await source.obtain(client(1), hint4=FIRST + 5, lifetime_s=500)
        assert (lease.client6, lease.client4) == (client(1), FIRST + 5)
        assert (lease.tep6, lease.mtu, lease.port_set) == (TEP6, 1460, None)
        assert lease.lifetime_s in {499, 500}
        again = await source.obtain(client(1), hint4=None, lifetime_s=None)
        assert (again.lease_id, again.client4) == (lease.lease_id, lease.client4)
        renewed = await source.renew(lease, lifetime_s=900)
        assert renewed.lifetime_s in {899, 900}
        assert renewed.lease_id == lease.lease_id
        await source.release(renewed)
        held = served.setting.book.table.get(5)
        assert (held.state, held.identity) == (State.REMOVING, "rpc:YW5u")
        await source.release(renewed)
        await source.close()
        assert counted(served.server).get("cookies", 0) == (2 if way == "udp" else 0)

    served(scenario, way)


@pytest.mark.netns
@pytest.mark.parametrize("way", WAYS)
def test_a_lease_that_the_server_lost_is_asked_for_again(way: Way) -> None:
    async def scenario(served: Served) -> None:
        source = served.source()
        lease = await source.obtain(client(1), hint4=FIRST + 5, lifetime_s=None)
        await served.source().release(lease)
        again = await source.renew(lease, lifetime_s=None)
        assert again.client4 == lease.client4
        assert again.lease_id != lease.lease_id

    served(scenario, way)


@pytest.mark.netns
@pytest.mark.parametrize("way", WAYS)
def test_a_port_set_from_obtain_to_release(way: Way) -> None:
    async def scenario(served: Served) -> None:
        lease = await served.source(asker=BOB).obtain(client(1), hint4=None, lifetime_s=None)
        assert (lease.client4, lease.port_set) == (FIRST, HALF)
        renewed = await served.source(asker=BOB).renew(lease, lifetime_s=900)
        assert (renewed.lease_id, renewed.port_set) == (lease.lease_id, HALF)
        await served.source(asker=BOB).release(lease)
        again = await served.source(asker=BOB).renew(lease, lifetime_s=None)  # lost: the same wish
        assert (again.client4, again.port_set) == (FIRST, HALF)
        assert again.lease_id != lease.lease_id
        with pytest.raises(SourceError, match="ENOADDR"):
            await served.source(asker=BOB).obtain(client(2), hint4=None, lifetime_s=None)
        with pytest.raises(SourceError, match="EPERM: the pools for this client have port sets"):
            await served.source().obtain(client(2), hint4=None, lifetime_s=None)

    served(scenario, way, pool=Pool.of("half", [(FIRST, FIRST)], sharing=Sharing(0, 1)))


@pytest.mark.netns
@pytest.mark.parametrize("way", WAYS)
def test_where_there_are_no_port_sets_that_is_a_plain_no(way: Way) -> None:
    async def scenario(served: Served) -> None:
        with pytest.raises(SourceError, match="EUNSUPP: no pool has port sets") as refused:
            await served.source(asker=BOB).obtain(client(1), hint4=None, lifetime_s=None)
        assert refused.value.final

    served(scenario, way)


@pytest.mark.netns
@pytest.mark.parametrize("way", WAYS)
def test_refusals_of_the_real_server(way: Way) -> None:
    async def scenario(served: Served) -> None:
        lease = await served.source(asker=Asker(client_id=b"ann")).obtain(
            client(1), hint4=None, lifetime_s=None
        )
        bob = served.source(asker=Asker(client_id=b"bob"))
        with pytest.raises(SourceError, match="EINUSE: 2001:db8::1 has a lease under") as refused:
            await bob.obtain(client(1), hint4=None, lifetime_s=None)
        assert not refused.value.final
        with pytest.raises(SourceError, match="EPERM: the lease has another client_id") as refused:
            await bob.renew(lease, lifetime_s=None)
        assert refused.value.final
        with pytest.raises(SourceError, match="EPERM"):
            await bob.release(lease)
        with pytest.raises(SourceError, match="PROG_UNAVAIL") as refused:
            await served.source(program=0x20000001).obtain(client(2), hint4=None, lifetime_s=None)
        assert refused.value.final

    served(scenario, way)


@pytest.mark.netns
@pytest.mark.parametrize("way", WAYS)
def test_a_busy_server_says_when_to_come_again(way: Way) -> None:
    async def scenario(served: Served) -> None:
        with pytest.raises(SourceError, match="EBUSY") as refused:
            await served.source().obtain(client(1), hint4=None, lifetime_s=None)
        assert refused.value.retry_after_s == 5
        assert not refused.value.final

    served(scenario, way, "gw1")


def test_an_address_that_is_not_ours() -> None:
    source = RpcSource("::1", port=1)
    with pytest.raises(
        SourceError, match=r"RPC server ::1 port 1 \(tcp\): Cannot assign requested"
    ):
        asyncio.run(source.obtain(client(99), hint4=None, lifetime_s=None))


@pytest.mark.netns
@needs_rpcbind
@pytest.mark.parametrize("way", WAYS)
def test_without_a_port_the_rpcbind_of_the_server_is_asked(way: Way) -> None:
    async def scenario(served: Served) -> None:
        source = served.source(port=None)
        with pytest.raises(
            SourceError, match=r"RPC server 2001:db8:5::1 \(...\): Connection refused"
        ):
            await source.obtain(client(1), hint4=None, lifetime_s=None)
        with rpcbind_in(served.space) as process:
            with pytest.raises(SourceError, match="its rpcbind does not know program 0x2000d573"):
                await source.obtain(client(1), hint4=None, lifetime_s=None)
            netid = f"{way}6"
            entry = Binding(
                program=PROGRAM, version=1, netid=netid, address=universal(SERVER6, served.port)
            )
            async with local_rpcbind(process.socket) as rpcbind:
                assert await rpcbind.set(entry)
            lease = await source.obtain(client(1), hint4=None, lifetime_s=None)
            await source.release(lease)

    served(scenario, way)


@pytest.mark.parametrize(
    ("server", "reason"),
    [
        ("::1", "Connection refused"),
        ("127.0.0.1", "Address family for hostname not supported"),
    ],
)
def test_nobody_there(server: str, reason: str) -> None:
    source = RpcSource(server, port=1)
    with pytest.raises(SourceError, match=reason):
        asyncio.run(source.obtain(LOOPBACK, hint4=None, lifetime_s=None))
