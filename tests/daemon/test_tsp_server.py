"""The TSP of a real dstm-server process, and its configuration."""

from __future__ import annotations

import asyncio
import json
import resource
import signal
from typing import TYPE_CHECKING

import pytest

from dstmrouter.cli.ctl import main as dstmctl
from dstmrouter.cli.server import main as dstm_server
from dstmrouter.daemon.lease_source import SourceError
from dstmrouter.daemon.tsp_account import TspAccount
from dstmrouter.daemon.tsp_server import make_room
from dstmrouter.daemon.tsp_users import load_users, new_keys, save_users
from lab.netns import PATIENCE_S
from tests.cli.inside import inside
from tests.daemon.server_process import FollowingRouter, ServerProcess, until_state
from tests.daemon.tsp_lab import CLIENT6, SERVER6, in_namespace, source, tsp_config

if TYPE_CHECKING:
    from pathlib import Path

    from dstmrouter.daemon.tsp_source import TspSource


@pytest.mark.netns
def test_a_process_lends_and_shows_what_it_counted() -> None:
    async def scenario() -> None:
        with ServerProcess() as server:
            server.config.write_text(tsp_config(server.home, ""))
            async with await server.start(), source() as client:
                lease = await client.obtain(CLIENT6, hint4=None, lifetime_s=None)
                assert lease.lifetime_s == 900
                endpoint = f"ipc://{server.home}/control"
                shown = inside(dstmctl, "status", "--server", endpoint, "--json")
                status = json.loads(shown.stdout)["server"]
                assert (status["tsp_sessions"], status["bound"]) == (1, 1)
                counts = {row["name"]: row["count"] for row in status["tsp"]}
                assert (counts["connections"], counts["grants"]) == (1, 1)
                table = inside(dstmctl, "status", "--server", endpoint).stdout
                assert "offers that the client accepted" in " ".join(table.split())
            assert server.stop()[0] == 0

    in_namespace(scenario)


@pytest.mark.netns
def test_a_client_is_told_when_the_required_router_forwards() -> None:
    async def scenario() -> None:
        feed = 'required = ["gw1"]\nack_timeout_s = 15'
        with ServerProcess() as server:
            server.config.write_text(tsp_config(server.home, "", feed=feed))
            router = FollowingRouter(server, "gw1")
            async with await server.start() as ctl, router.following(), source() as client:
                router.deaf = True
                asking = asyncio.create_task(client.obtain(CLIENT6, hint4=None, lifetime_s=None))
                await until_state(ctl, "192.0.2.0", "offered")
                assert not asking.done()
                router.deaf = False
                lease = await asking
                assert router.bindings == {str(lease.client4): str(CLIENT6)}
                await until_state(ctl, "192.0.2.0", "active")

    in_namespace(scenario)


@pytest.mark.netns
def test_a_port_in_use_ends_the_start_with_one_line() -> None:
    async def scenario() -> None:
        with ServerProcess() as server, ServerProcess() as second:
            for one in (server, second):
                one.config.write_text(tsp_config(one.home, ""))
            async with await server.start():
                ended = second.popen()
                _, log = ended.communicate(timeout=PATIENCE_S)
                assert ended.returncode == 1
                problem = f"dstm-server: bind([{SERVER6}]:3653): Address already in use"
                assert log.splitlines()[-1] == problem

    in_namespace(scenario)


@pytest.mark.netns
def test_a_new_user_is_known_after_sighup() -> None:
    async def scenario() -> None:
        bob = TspAccount(user="bob", password="crayon")
        with ServerProcess() as server:
            server.config.write_text(tsp_config(server.home, ""))
            async with await server.start(), source(account=bob) as client:
                with pytest.raises(SourceError, match="300"):
                    await client.obtain(CLIENT6, hint4=None, lifetime_s=None)
                users = load_users(server.home / "users")
                users["bob"] = new_keys("bob", "crayon", digest_realm=None)
                save_users(server.home / "users", users)
                assert server.process is not None
                server.process.send_signal(signal.SIGHUP)
                async with asyncio.timeout(PATIENCE_S):
                    while not await admitted(client):
                        await asyncio.sleep(0.3)  # the server allows five tries a second
            assert "users and certificates read again" in server.stop()[1]

    async def admitted(client: TspSource) -> bool:
        try:
            await client.obtain(CLIENT6, hint4=None, lifetime_s=None)
        except SourceError:
            return False
        return True

    in_namespace(scenario)


def test_check_config_reads_the_files_that_it_names(tmp_path: Path) -> None:
    config = tmp_path / "server.toml"
    config.write_text(tsp_config(tmp_path, ""))
    assert inside(dstmctl, "check-config", config).returncode == 0
    assert inside(dstm_server, "check-config", "--config", config).returncode == 0
    (tmp_path / "users").chmod(0o644)
    bad = inside(dstm_server, "check-config", "--config", config)
    assert bad.returncode == 2
    assert bad.stderr == f"{tmp_path}/users: mode 0644: expected 0600, others can read it\n"


@pytest.mark.parametrize(
    ("limits", "taken"),
    [((1024, 4096), [(1256, 4096)]), ((1024, 1100), [(1100, 1100)]), ((5000, 5000), [])],
)
def test_there_is_a_descriptor_for_each_session_where_allowed(
    monkeypatch: pytest.MonkeyPatch, limits: tuple[int, int], taken: list[tuple[int, int]]
) -> None:
    asked: list[tuple[int, int]] = []
    monkeypatch.setattr(resource, "getrlimit", lambda _: limits)
    monkeypatch.setattr(resource, "setrlimit", lambda _, wanted: asked.append(wanted))
    make_room(1000)
    assert asked == taken
