"""The whole server with `[rpc]`: a lease over RPC is as good as one of `dstmctl`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from dstmrouter.daemon.rpc_source import Asker, RpcSource
from dstmrouter.protocols.dstm_rpc import AllocateArgs, Lease, Procedure, decode_result
from dstmrouter.protocols.oncrpc import Accepted
from dstmrouter.protocols.record_marking import mark
from lab.netns import PATIENCE_S
from tests.daemon.lending_server import lending_server
from tests.daemon.rpc_hosts import SERVER6, hosts
from tests.daemon.rpc_peer import StreamPeer, call_of
from tests.daemon.server_process import (
    FollowingRouter,
    ServerProcess,
    bounded,
    until,
    until_state,
)
from tests.leases.lending import client

if TYPE_CHECKING:
    from ipaddress import IPv4Address

    from dstmrouter.protocols.granted import GrantedLease

RPC = f'[rpc]\nlisten = ["{SERVER6}"]\nport = 3654\nrpcbind = "off"'


async def obtained(number: int) -> GrantedLease:
    source = RpcSource(str(SERVER6), port=3654)
    return await source.obtain(client(number), hint4=None, lifetime_s=None)


@pytest.mark.netns
def test_operators_see_leases_and_counters_of_rpc() -> None:
    async def scenario() -> None:
        async with lending_server(feed=RPC) as ctl:
            lease = await obtained(1)
            (row,) = (await ctl.call("leases"))["leases"]
            assert (row["client6"], row["ipv4"]) == (str(client(1)), str(lease.client4))
            assert str(lease.tep4) == "192.0.2.1"
            status = await ctl.call("status")
            assert status["rpc_listen"] == [f"[{SERVER6}]:3654"]
            assert status["rpcbind"] == "off"
            rows = {row["name"]: row for row in status["rpc"]}
            assert rows["answers-lease"]["count"] == 1
            assert rows["answers-lease"]["help"] == "answers with a lease"

    with hosts() as space, space.entered():
        bounded(scenario())


@pytest.mark.netns
def test_the_history_tells_port_sets_of_rpc_by_their_ports() -> None:
    async def asking(number: int, hint4: IPv4Address | None = None) -> GrantedLease:
        source = RpcSource(str(SERVER6), port=3654, asker=Asker(client_id=b"ann", psid_len=4))
        return await source.obtain(client(number), hint4=hint4, lifetime_s=None)

    async def scenario() -> None:
        async with lending_server(feed=RPC, pool="psid_len = 4\npsid_offset = 6") as ctl:
            home = await asking(1)
            assert home.port_set is not None
            away = await asking(2, home.client4)
            assert away.port_set == home.port_set
            first, last = home.port_set.ranges[0]
            shared = str(home.client4)
            (holder,) = (await ctl.call("history.at", ipv4=shared, port=last))["holders"]
            assert holder.items() >= {"client6": str(client(2)), "psid_len": 4}.items()
            others = await ctl.call("history.at", ipv4=shared, port=first - 1)
            assert others["holders"] == []
            (ended,) = (await ctl.call("history.ended"))["holdings"]
            assert (ended["client6"], ended["psid"]) == (str(client(1)), home.port_set.psid)

    with hosts() as space, space.entered():
        bounded(scenario())


@pytest.mark.netns
def test_a_lease_is_given_when_the_required_router_has_it_and_outlives_the_server() -> None:
    async def scenario(server: ServerProcess) -> None:
        router = FollowingRouter(server, "gw1")
        async with await server.start(), router.following():
            lease = await obtained(1)
            assert router.bindings == {str(lease.client4): str(client(1))}
            server.kill()
            async with await server.start():
                await until(lambda: len(router.epochs) == 2, "the new server to be followed")
                source = RpcSource(str(SERVER6), port=3654)
                renewed = await source.renew(lease, lifetime_s=5000)
                assert renewed.lease_id == lease.lease_id
                await source.release(renewed)
                await until(lambda: not router.bindings, "the router to be told")

    feed = f'required = ["gw1"]\nack_timeout_s = 10\n{RPC}'
    with hosts() as space, ServerProcess(feed=feed) as server, space.entered():
        bounded(scenario(server))


@pytest.mark.netns
def test_a_call_that_is_made_again_on_a_new_connection_is_done_once() -> None:
    async def scenario(server: ServerProcess) -> None:
        router = FollowingRouter(server, "gw1")
        call = call_of(Procedure.ALLOCATE, AllocateArgs(client6=client(1)).encode())
        async with await server.start() as ctl, router.following():
            router.deaf = True
            impatient = await StreamPeer.connect(3654, str(SERVER6), str(client(1)))
            impatient.write(mark(call))
            await until_state(ctl, "192.0.2.0", "active")  # lent, but not promised yet
            impatient.close()
            patient = await StreamPeer.connect(3654, str(SERVER6), str(client(1)))
            patient.write(mark(call))
            router.deaf = False
            reply = await patient.reply()
            assert isinstance(reply, Accepted)
            assert isinstance(decode_result(reply.results), Lease)
            patient.close()
            rows = {row["name"]: row["count"] for row in (await ctl.call("status"))["rpc"]}
            assert (rows["answers-lease"], rows["duplicates"]) == (1, 1)

    feed = f'required = ["gw1"]\nack_timeout_s = 10\n{RPC}'
    with hosts() as space, ServerProcess(feed=feed) as server, space.entered():
        bounded(scenario(server))


def test_an_address_that_is_not_ours_is_one_clear_line() -> None:
    with ServerProcess(feed=RPC) as server:
        process = server.popen()
        _, log = process.communicate(timeout=PATIENCE_S)
        assert process.returncode == 1
        last = log.splitlines()[-1]
        assert last == f"dstm-server: bind([{SERVER6}]:3654): Cannot assign requested address"
