from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest
import zmq

from dstmrouter.errors import ConfigError, ControlError
from dstmrouter.zmqctl import ApplyResult, CurveServer, FeedFollower, KeyPair
from dstmrouter.zmqctl import subscriber as module
from tests.zmqctl.samples import Table, puts, removes, run, until
from tests.zmqctl.sockets import FeedServer, Keys, plain_socket, running

if TYPE_CHECKING:
    from pathlib import Path

    from dstmrouter.zmqctl import Apply, BindingUpdate, CurveClient


def follower(
    server: FeedServer, apply: Apply, *, name: str = "r1", curve: CurveClient | None = None
) -> FeedFollower:
    return FeedFollower(
        name=name,
        source="s1",
        feed=server.publisher.endpoint,
        control=server.control.endpoint,
        curve=curve,
        apply=apply,
    )


def server_in(tmp_path: Path) -> FeedServer:
    return FeedServer(f"ipc://{tmp_path}/feed", f"ipc://{tmp_path}/c")


async def acked(server: FeedServer, *names: str) -> None:
    missing = await server.publisher.wait_acked(server.publisher.generation, names, 20.0)
    assert missing == set()


def test_snapshot_then_changes(tmp_path: Path) -> None:
    async def scenario() -> None:
        server, table = server_in(tmp_path), Table()
        await server.change(puts(0, 5))
        router = follower(server, table.apply)
        async with running(server, router):
            await acked(server, "r1")
            assert set(table.clients()) == set(range(5))
            await server.change(removes(0, 2))
            await server.change(puts(4, 6, client=9))
            await acked(server, "r1")
        assert table.clients() == {2: 1, 3: 1, 4: 9, 5: 9}
        state = router.state()
        assert (state["phase"], state["generation"], state["rows"]) == ("following", 3, 4)
        assert state["counters"]["snapshots"] == 1

    run(scenario())


def test_changes_made_while_the_snapshot_is_applied_are_not_lost(tmp_path: Path) -> None:
    async def scenario() -> None:
        server, table = server_in(tmp_path), Table()
        await server.change(puts(0, 100))
        table.gate.clear()
        router = follower(server, table.apply)
        async with running(server, router):
            await until(lambda: router.state()["phase"] == "following")
            for number in range(100):
                await server.change(removes(number, number + 1))
                await server.change(puts(100 + number, 101 + number))
            table.gate.set()
            await acked(server, "r1")
        assert set(table.clients()) == set(range(100, 200))

    run(scenario())


def test_restarts_of_the_server_lose_nothing(tmp_path: Path) -> None:
    async def scenario() -> None:
        table = Table()
        server = server_in(tmp_path)
        await server.change(puts(0, 5))
        router = follower(server, table.apply)
        async with running(router):
            async with running(server):
                await acked(server, "r1")
            await asyncio.sleep(0)
            for run_number in range(3):
                successor = server_in(tmp_path)
                successor.bindings = puts(run_number, 5)  # some ended while the server was away
                async with running(successor):
                    await acked(successor, "r1")
                    assert set(table.clients()) == set(range(run_number, 5))
        assert router.state()["counters"]["epochs"] == 4

    run(scenario())


def test_restart_of_the_router_gets_everything_again(tmp_path: Path) -> None:
    async def scenario() -> None:
        server = server_in(tmp_path)
        async with running(server):
            for count in range(1, 4):
                await server.change(puts(count - 1, count))
                table = Table()
                async with running(follower(server, table.apply)):
                    await acked(server, "r1")
                assert len(table.rows) == count

    run(scenario())


def test_router_may_start_before_the_server(tmp_path: Path) -> None:
    async def scenario() -> None:
        table = Table()
        router = FeedFollower(
            name="r1",
            source="s1",
            feed=f"ipc://{tmp_path}/feed",
            control=f"ipc://{tmp_path}/c",
            curve=None,
            apply=table.apply,
        )
        async with running(router):
            await asyncio.sleep(0.05)
            assert router.state()["phase"] == "seeking"
            server = server_in(tmp_path)
            await server.change(puts(0, 3))
            async with running(server):
                await acked(server, "r1")
        assert set(table.clients()) == {0, 1, 2}

    run(scenario())


def test_silent_router_slows_neither_the_server_nor_the_others(tmp_path: Path) -> None:
    async def scenario() -> None:
        server, good, stuck = server_in(tmp_path), Table(), Table()
        stuck.gate.clear()
        async with running(
            server,
            follower(server, good.apply, name="good"),
            follower(server, stuck.apply, name="stuck"),
        ):
            with plain_socket(zmq.SUB) as deaf:  # subscribes and never reads
                deaf.setsockopt(zmq.RCVHWM, 1)
                deaf.setsockopt(zmq.SUBSCRIBE, b"")
                deaf.connect(server.publisher.endpoint)
                await until(lambda: server.publisher.counters["subscriptions"] >= 3)
                for _ in range(2000):
                    await server.change(puts(0, 200))
                await acked(server, "good")
                last = server.publisher.generation
                assert await server.publisher.wait_acked(last, ["stuck"], 0.05) == {"stuck"}
                stuck.gate.set()
                await acked(server, "stuck")
        assert good.clients() == stuck.clients() == dict.fromkeys(range(200), 1)

    run(scenario())


def test_changes_lost_on_the_way_are_fetched(tmp_path: Path) -> None:
    async def scenario() -> None:
        server, table = server_in(tmp_path), Table()
        router = follower(server, table.apply)
        async with running(server, router):
            await acked(server, "r1")
            server.bindings = puts(0, 7)
            server.publisher.generation += 3  # as if three messages never left
            await acked(server, "r1")
        assert set(table.clients()) == set(range(7))
        assert router.state()["counters"]["gaps"] >= 1

    run(scenario())


def test_update_that_cannot_be_applied_is_repeated(tmp_path: Path) -> None:
    async def scenario() -> None:
        server, table = server_in(tmp_path), Table()
        failures = iter([True, False, True])

        async def apply(update: BindingUpdate) -> ApplyResult:
            if next(failures, False):
                raise ControlError("no worker lives")
            return await table.apply(update)

        router = follower(server, apply)
        await server.change(puts(0, 3))
        async with running(server, router):
            await acked(server, "r1")
            await server.change(puts(3, 4))
            await acked(server, "r1")
        assert set(table.clients()) == {0, 1, 2, 3}
        assert router.state()["counters"]["failed"] == 2

    run(scenario())


def test_malformed_messages_are_counted_and_healed(tmp_path: Path) -> None:
    async def scenario() -> None:
        server, table = server_in(tmp_path), Table()
        router = follower(server, table.apply)
        async with running(server, router):
            await acked(server, "r1")
            await server.publisher._socket.send(b"\xc1 not a message")
            await server.change(puts(0, 2))
            await acked(server, "r1")
        assert router.state()["counters"]["malformed"] == 1
        assert set(table.clients()) == {0, 1}

    run(scenario())


def test_million_leases_over_tcp_with_keys() -> None:
    async def scenario() -> None:
        keys = Keys("r1")
        server = FeedServer("tcp://[::1]:*", "tcp://[::1]:*", curve=keys.of_server())
        server.bindings = puts(0, 1_000_000)
        rows: list[int] = []

        async def apply(update: BindingUpdate) -> ApplyResult:
            rows.append(len(update.columns))
            return ApplyResult(applied=rows[-1], refused=0, rows=sum(rows))

        async with running(server, follower(server, apply, curve=keys.of("r1"))):
            await acked(server, "r1")
        assert sum(rows) == 1_000_000
        assert len(rows) == 16

    run(scenario())


def test_key_that_was_refused_works_once_it_is_allowed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "REOPEN_S", 0.5)
    monkeypatch.setattr(module, "REOPEN_INTERVALS", 1)

    async def scenario() -> None:
        keys, table = Keys("r1"), Table()
        nobody = CurveServer(keys.server, {KeyPair.generate().public: "else"})
        closed = FeedServer("tcp://127.0.0.1:*", "tcp://127.0.0.1:*", curve=nobody)
        router = follower(closed, table.apply, curve=keys.of("r1"))
        gate = closed.publisher._gate
        assert gate is not None
        async with running(router):
            async with running(closed):
                await until(lambda: gate.denied)
                assert closed.publisher.routers() == []
            opened = FeedServer(
                closed.publisher.endpoint, closed.control.endpoint, curve=keys.of_server()
            )
            await opened.change(puts(0, 2))
            async with running(opened):
                await acked(opened, "r1")
        assert set(table.clients()) == {0, 1}

    run(scenario())


def test_silence_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "WATCH_S", 0.05)

    async def scenario() -> None:
        server, table = server_in(tmp_path), Table()
        router = follower(server, table.apply)
        async with running(router):
            async with running(server):
                await acked(server, "r1")
                assert not router.state()["stale"]
            await until(lambda: router.state()["stale"])
            assert router.state()["rows"] == 0

    run(scenario())


def test_plain_tcp_is_refused() -> None:
    with pytest.raises(ConfigError, match="needs CURVE"):
        FeedFollower(
            name="r1",
            source="s1",
            feed="tcp://[::1]:1",
            control="ipc:///tmp/c",
            curve=None,
            apply=Table().apply,
        )
