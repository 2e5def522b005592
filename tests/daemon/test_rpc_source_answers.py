"""`RpcSource` with other servers than ours: good answers, and such as are of no use."""

from __future__ import annotations

import asyncio
import dataclasses
from ipaddress import IPv4Address, IPv6Address
from typing import TYPE_CHECKING, Any

import pytest

from dstmrouter.daemon.lease_source import SourceError
from dstmrouter.daemon.rpc_source import RETRY_MAX_S, RpcSource
from dstmrouter.protocols import dstm_rpc
from dstmrouter.protocols.dstm_rpc import (
    CookieNeeded,
    LeaseResult,
    LeaseState,
    Refused,
    RetryLater,
    Stat,
    encode_result,
    encode_stat,
)
from dstmrouter.protocols.granted import PortSet
from tests.daemon.test_rpc_client import reply, stream_server
from tests.leases.lending import FIRST, TEP6, client

if TYPE_CHECKING:
    from dstmrouter.protocols.oncrpc import Call

LOOPBACK = IPv6Address("::1")
LEASE = dstm_rpc.Lease(
    lease_id=7,
    client6=LOOPBACK,
    tep6=TEP6,
    tep4=IPv4Address("192.0.2.1"),
    client4=FIRST,
    lifetime=100,
    t1=50,
    t2=87,
    mtu=0,
    state=LeaseState.ACTIVE,
)


def obtained(results: bytes, timeout_s: float = 10) -> Any:
    """What `obtain` makes of a server that answers everything with `results`."""

    async def scenario() -> Any:
        async with stream_server(lambda call: answered(call, results)) as port:
            source = RpcSource("::1", port=port, timeout_s=timeout_s)
            return await source.obtain(LOOPBACK, hint4=None, lifetime_s=None)

    return asyncio.run(scenario())


def answered(call: Call, results: bytes) -> list[bytes]:
    return [reply(call, results=results)]


def test_a_port_set_of_another_server() -> None:
    ports = PortSet(psid_offset=0, psid_len=8, psid=7)
    lease = obtained(encode_result(dataclasses.replace(LEASE, ports=ports)))
    assert lease.port_set == ports


def test_a_good_lease_of_another_server() -> None:
    lease = obtained(encode_result(LEASE))
    assert (lease.client4, lease.lease_id, lease.mtu) == (FIRST, 7, None)


@pytest.mark.parametrize(
    ("result", "text"),
    [
        (dataclasses.replace(LEASE, client6=client(1)), "it is for 2001:db8::1"),
        (dataclasses.replace(LEASE, prefix4_len=30), "a prefix of 30 bits"),
        (
            dataclasses.replace(LEASE, ports=PortSet(psid_offset=6, psid_len=11, psid=1)),
            "port set 6/11/1: expected at most 16 bits",
        ),
        (dataclasses.replace(LEASE, lifetime=0), "ACTIVE, 0 s left"),
        (dataclasses.replace(LEASE, state=LeaseState.OFFERED), "OFFERED, 100 s left"),
        (CookieNeeded(cookie=b"again"), "it does not take its own cookie"),
        (Refused(stat=Stat.EQUOTA, text="no\x1b[2J\nmore"), r"EQUOTA: no\?\[2J\?more$"),
    ],
)
def test_answers_that_are_of_no_use(result: LeaseResult, text: str) -> None:
    with pytest.raises(SourceError, match=text) as failed:
        obtained(encode_result(result))
    assert not failed.value.final


def test_no_server_silences_its_clients_for_long() -> None:
    with pytest.raises(SourceError) as failed:
        obtained(encode_result(RetryLater(stat=Stat.EINPROGRESS, retry_after=0xFFFFFFFF)))
    assert failed.value.retry_after_s == RETRY_MAX_S


def test_an_answer_that_is_no_result() -> None:
    with pytest.raises(SourceError, match="an answer that cannot be: 99 is no Stat"):
        obtained(bytes.fromhex("00000063"))


def test_no_answer() -> None:
    async def scenario() -> None:
        async with stream_server(lambda call: [reply(call, xid=call.xid ^ 1)]) as port:
            source = RpcSource("::1", port=port, timeout_s=0.1)
            await source.obtain(LOOPBACK, hint4=None, lifetime_s=None)

    with pytest.raises(SourceError, match=r"no answer in 0\.1 s"):
        asyncio.run(scenario())


def test_a_release_that_has_to_wait() -> None:
    async def scenario() -> None:
        results = encode_stat(Stat.EBUSY)
        async with stream_server(lambda call: answered(call, results)) as port:
            await RpcSource("::1", port=port).release(LEASE.granted())

    with pytest.raises(SourceError, match="EBUSY") as failed:
        asyncio.run(scenario())
    assert failed.value.retry_after_s == 5
