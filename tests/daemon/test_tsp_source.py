from __future__ import annotations

import asyncio
from ipaddress import IPv4Address
from typing import TYPE_CHECKING

import pytest

from dstmrouter.daemon import tsp_visit
from dstmrouter.daemon.lease_source import SourceError
from dstmrouter.daemon.tsp_account import TspAccount, TspAddress
from dstmrouter.daemon.tsp_source import TspSource
from dstmrouter.errors import ConfigError
from tests.daemon.tsp_lab import (
    CLIENT6,
    EVERYTHING,
    OTHER6,
    SERVER6,
    in_namespace,
    lending,
    source,
)
from tests.protocols.tsp_samples import PASSWORD, USER

if TYPE_CHECKING:
    from dstmrouter.daemon.lease_source import LeaseSource

pytestmark = pytest.mark.netns
SCHEMES = ("tsp", "tsp-udp")


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("mechanism", ["SCRAM-SHA-256", "DIGEST-MD5", "PLAIN", "ANONYMOUS"])
def test_a_lease_is_obtained_renewed_and_released(scheme: str, mechanism: str) -> None:
    async def scenario() -> None:
        section = EVERYTHING.replace('["SCRAM-SHA-256", "DIGEST-MD5", "PLAIN", "ANONYMOUS"]', only)
        async with lending(section) as server, source(where, account) as client:
            lease = await client.obtain(CLIENT6, hint4=IPv4Address("192.0.2.9"), lifetime_s=700)
            assert lease.client4 == IPv4Address("192.0.2.9")
            assert (str(lease.tep4), str(lease.tep6)) == ("192.0.2.1", "2001:db8:f::1")
            assert (lease.lifetime_s, lease.keepalive_s) == (700, 30)
            await server.until(lambda: server.leases() == {"192.0.2.9": "ACTIVE"})
            longer = await client.renew(lease, lifetime_s=None)
            assert (longer.client4, longer.lifetime_s) == (lease.client4, 900)
            await client.release(longer)
            assert server.leases() == {"192.0.2.9": "REMOVING"}

    only = f'["{mechanism}"]'
    where = f"{scheme}://[{SERVER6}]"
    nobody = mechanism == "ANONYMOUS"
    account = TspAccount(user=None if nobody else USER, password=PASSWORD, plain=True)
    in_namespace(scenario)


@pytest.mark.parametrize("scheme", SCHEMES)
def test_wrong_credentials_are_final(scheme: str) -> None:
    async def scenario() -> None:
        account = TspAccount(user=USER, password="pencils")
        async with lending() as server, source(f"{scheme}://[{SERVER6}]", account) as client:
            with pytest.raises(SourceError, match="300") as refused:
                await client.obtain(CLIENT6, hint4=None, lifetime_s=None)
            assert refused.value.final
            assert server.leases() == {}
            assert server.counted("authentication-failed") == 1

    in_namespace(scenario)


def test_a_password_is_not_sent_in_the_clear() -> None:
    async def scenario() -> None:
        section = EVERYTHING.replace('"SCRAM-SHA-256", "DIGEST-MD5", ', "")
        async with lending(section), source() as client:
            with pytest.raises(SourceError, match="none of which we may use") as refused:
                await client.obtain(CLIENT6, hint4=None, lifetime_s=None)
            assert refused.value.final

    in_namespace(scenario)


def test_two_clients_and_a_lease_of_another_user() -> None:
    async def scenario() -> None:
        async with lending() as server, source() as ann, source(account=TspAccount()) as nobody:
            first = await ann.obtain(CLIENT6, hint4=None, lifetime_s=None)
            second = await nobody.obtain(OTHER6, hint4=None, lifetime_s=None)
            assert first.client4 != second.client4
            with pytest.raises(SourceError, match="506") as refused:
                await nobody.obtain(CLIENT6, hint4=None, lifetime_s=None)
            assert refused.value.final
            assert server.leases()[str(first.client4)] == "ACTIVE"

    in_namespace(scenario)


def test_a_closed_connection_is_made_again() -> None:
    async def scenario() -> None:
        async with source() as client:
            async with lending():
                lease = await client.obtain(CLIENT6, hint4=None, lifetime_s=None)
            with pytest.raises(SourceError):
                await client.renew(lease, lifetime_s=None)
            async with lending() as server:
                again = await client.renew(lease, lifetime_s=None)
                assert again.client4 == lease.client4
                await server.until(lambda: "ACTIVE" in server.leases().values())

    in_namespace(scenario)


def test_nobody_listens() -> None:
    async def scenario() -> None:
        for scheme in SCHEMES:
            async with source(f"{scheme}://[{SERVER6}]") as client:
                with pytest.raises(SourceError, match=f"{scheme}://"):
                    await client.obtain(CLIENT6, hint4=None, lifetime_s=None)

    in_namespace(scenario)


@pytest.mark.parametrize("redirect", ["always", "full"])
def test_a_server_s_way_on_is_taken(redirect: str) -> None:
    async def scenario() -> None:
        away = EVERYTHING + f'brokers = ["{OTHER6}"]\nredirect = "{redirect}"\nudp = false\n'
        there = EVERYTHING + f'udp = false\nlisten = ["{OTHER6}"]\n'
        async with lending(away) as full, lending(there) as free, source() as client:
            if redirect == "full":
                for slot in range(255):
                    table = full.server._book.table
                    full.server._book.hold(table.get(slot).ipv4)
            lease = await client.obtain(CLIENT6, hint4=None, lifetime_s=None)
            await free.until(lambda: free.leases() == {str(lease.client4): "ACTIVE"})
            await client.renew(lease, lifetime_s=None)

    in_namespace(scenario)


def test_it_is_a_lease_source() -> None:
    found: LeaseSource = TspSource(TspAddress.parse("tsp://x"), TspAccount())
    asyncio.run(found.close())
    with pytest.raises(ConfigError, match="TLS"):
        TspSource(TspAddress.parse("tsps://x"), TspAccount())


def test_a_refusal_leaves_the_connection_and_a_redirection_is_taken_from_there() -> None:
    async def scenario() -> None:
        there = EVERYTHING + f'udp = false\nlisten = ["{OTHER6}"]\n'
        async with lending(there) as free, source() as client:
            for brokers in ("", f'brokers = ["{OTHER6}"]\n'):
                async with lending(EVERYTHING + brokers) as full:
                    lease = await client.obtain(CLIENT6, hint4=None, lifetime_s=None)
                    await client.release(lease)
                    book = full.server._book
                    for slot in range(book.space.capacity):
                        book.hold(book.table.get(slot).ipv4)
                    if brokers:
                        await client.obtain(CLIENT6, hint4=None, lifetime_s=None)
                        await free.until(lambda: "ACTIVE" in free.leases().values())
                    else:
                        with pytest.raises(SourceError, match="301"):
                            await client.obtain(CLIENT6, hint4=None, lifetime_s=None)
                    assert full.counted("connections") == 1

    in_namespace(scenario)


def test_a_server_that_forgot_us_is_asked_again(monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario() -> None:
        async with lending() as server, source(f"tsp-udp://[{SERVER6}]") as client:
            lease = await client.obtain(CLIENT6, hint4=None, lifetime_s=None)
            await server.until(lambda: not server.server._describe()["tsp_sessions"])
            renewed = await client.renew(lease, lifetime_s=None)
            assert renewed.client4 == lease.client4
            assert server.counted("udp-dialogues") == 2

    monkeypatch.setattr(tsp_visit, "IDLE_S", 0.2)
    in_namespace(scenario)
