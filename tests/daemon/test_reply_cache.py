from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from dstmrouter.daemon.reply_cache import KEEP_S, CallKey, ReplyCache
from lab.netns import PATIENCE_S
from tests.leases.lending import client

if TYPE_CHECKING:
    from collections.abc import Coroutine
    from ipaddress import IPv6Address


def key(xid: int, octets: bytes = b"call", source: IPv6Address | None = None) -> CallKey:
    return CallKey.of(source or client(1), xid, octets)


async def reply(octets: bytes) -> bytes:
    return octets


def run(scenario: Coroutine[Any, Any, None]) -> None:
    asyncio.run(asyncio.wait_for(scenario, PATIENCE_S))


def test_a_copy_finds_the_reply_at_work_and_finished() -> None:
    async def scenario() -> None:
        cache = ReplyCache(at_work=2, per_source=2)
        assert cache.find(key(1), 0.0) is None
        task = cache.begin(key(1), reply(b"done"), 0.0)
        assert cache.find(key(1), 1.0) is task
        assert await task == b"done"
        assert cache.find(key(1), KEEP_S - 1) is task
        assert cache.find(key(1), KEEP_S) is None
        assert len(cache) == 0

    run(scenario())


def test_another_call_is_no_copy() -> None:
    async def scenario() -> None:
        cache = ReplyCache(at_work=2, per_source=2)
        await cache.begin(key(1), reply(b"done"), 0.0)
        for other in (key(2), key(1, b"another"), key(1, source=client(2))):
            assert cache.find(other, 0.0) is None

    run(scenario())


def test_the_oldest_reply_makes_room_but_no_call_at_work() -> None:
    async def scenario() -> None:
        cache = ReplyCache(at_work=9, per_source=9, entries=2)
        forever = cache.begin(key(0), asyncio.sleep(100, b""), 0.0)
        for xid in range(1, 50):
            assert cache.find(key(xid), 0.0) is None
            await cache.begin(key(xid), reply(b""), 0.0)
            assert len(cache) <= 2
        assert cache.find(key(0), 10 * KEEP_S) is forever
        cache.close()
        with pytest.raises(asyncio.CancelledError):
            await forever

    run(scenario())


def test_calls_at_work_are_limited_in_total_and_by_source() -> None:
    async def scenario() -> None:
        cache = ReplyCache(at_work=3, per_source=2)
        far = client(1 << 64)  # of another /64
        go = asyncio.Event()

        async def waiting() -> bytes:
            await go.wait()
            return b""

        tasks = [cache.begin(key(xid), waiting(), 0.0) for xid in (1, 2)]
        assert cache.is_full(client(9))
        assert not cache.is_full(far)
        tasks.append(cache.begin(key(3, source=far), waiting(), 0.0))
        assert cache.is_full(far)
        go.set()
        await asyncio.gather(*tasks)
        assert not cache.is_full(client(9))
        assert not cache._at_work

    run(scenario())
