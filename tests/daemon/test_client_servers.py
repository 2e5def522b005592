from __future__ import annotations

import asyncio
from ipaddress import IPv6Address
from typing import TYPE_CHECKING

import pytest

from dstmrouter.config.client import ServersSection
from dstmrouter.daemon.client_servers import HOSTS_LIMIT, ServerSource, resolve, servers_of
from dstmrouter.daemon.lease_source import SourceError
from dstmrouter.errors import DstmError
from tests.daemon.lease_sources import ScriptedSource
from tests.protocols.leases import FIRST4, HOME6, lease

if TYPE_CHECKING:
    from pathlib import Path


def test_servers_of_the_file_come_first_and_bad_lines_are_left_out(tmp_path: Path) -> None:
    file = tmp_path / "hosts"
    file.write_bytes(b"# from DHCPv6\n2001:db8::88\n\xff\xfe bad\n192.0.2.1\nother  # AFTR\ngw\n")
    config = ServersSection(hosts=("gw", "last"), hosts_file=file)
    assert servers_of(config) == ["2001:db8::88", "other", "gw", "last"]
    file.unlink()
    assert servers_of(config) == ["gw", "last"]


def test_a_file_without_end_does_no_harm(tmp_path: Path) -> None:
    file = tmp_path / "hosts"
    file.write_text("".join(f"host{i}\n" for i in range(100_000)))
    assert len(servers_of(ServersSection(hosts=("gw",), hosts_file=file))) == HOSTS_LIMIT


def test_resolving() -> None:
    assert asyncio.run(resolve("2001:db8::1")) == IPv6Address("2001:db8::1")
    with pytest.raises(DstmError, match=r"^no-such-host\.invalid: "):
        asyncio.run(resolve("no-such-host.invalid"))


def source_of(**scripted: ScriptedSource) -> ServerSource:
    makers = [(name, lambda source=source: source) for name, source in scripted.items()]
    return ServerSource("gw", makers, timeout_s=0.05)


async def obtained(source: ServerSource) -> object:
    return await source.obtain(HOME6, hint4=FIRST4, lifetime_s=60)


def test_protocols_are_tried_in_order_and_the_first_that_helps_is_kept() -> None:
    async def scenario() -> None:
        tsps, rpc = ScriptedSource(SourceError("refused")), ScriptedSource(lease(), lease())
        source = source_of(tsps=tsps, tsp=ScriptedSource(None), rpc=rpc)
        assert await obtained(source) == lease()
        assert source.protocol == "rpc"
        assert await source.renew(lease(), lifetime_s=30) == lease()
        await source.release(lease())
        assert rpc.asked == [
            f"obtain {HOME6} {FIRST4} 60",
            f"renew {FIRST4} 30",
            f"release {FIRST4}",
        ]
        assert (tsps.closed, rpc.closed) == (1, 0)
        await source.close()
        assert rpc.closed == 1

    asyncio.run(scenario())


@pytest.mark.parametrize(
    ("errors", "pause", "final"),
    [
        ([SourceError("a"), SourceError("b")], None, False),
        ([SourceError("a", retry_after_s=9), SourceError("b", retry_after_s=5)], 5, False),
        ([SourceError("a", final=True), SourceError("b")], None, False),
        ([SourceError("a", final=True), SourceError("b", final=True)], None, True),
    ],
)
def test_the_refusal_of_all(errors: list[SourceError], pause: float | None, *, final: bool) -> None:
    source = source_of(tsp=ScriptedSource(errors[0]), rpc=ScriptedSource(errors[1]))
    with pytest.raises(SourceError, match=r"^a; b$") as caught:
        asyncio.run(obtained(source))
    assert (caught.value.retry_after_s, caught.value.final) == (pause, final)


def test_silence_is_a_refusal() -> None:
    async def scenario() -> None:
        source = source_of(rpc=ScriptedSource(lease(), None))
        await obtained(source)
        with pytest.raises(SourceError, match=r"^gw: no answer over rpc in 0\.05 s$"):
            await source.renew(lease(), lifetime_s=None)

    asyncio.run(scenario())
