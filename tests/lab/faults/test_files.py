"""The files of the machines are good configuration and fit together."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dstmrouter.config.load import load_client, load_router, load_server
from lab.faults import files
from lab.faults.network import CLIENTS, FEED6, GUESTS6, ROUTERS, SERVER6

if TYPE_CHECKING:
    from pathlib import Path


def test_server_and_routers_fit(tmp_path: Path) -> None:
    files.write_all(tmp_path)
    server = load_server(tmp_path / "server.toml")
    assert server.feed.required == ROUTERS
    assert FEED6 in server.feed.bind
    assert server.curve is not None
    assert [peer.name for peer in server.curve.allowed] == list(ROUTERS)
    for name in ROUTERS:
        router = load_router(tmp_path / f"{name}.toml")
        (feed,) = router.feed
        assert (feed.feed, feed.control) == (server.feed.bind, server.feed.control)
        assert feed.server == server.server.name
        assert router.router.name == name
        assert router.router.control == files.control(tmp_path, name)
        assert router.tunnel.tep6 == server.tep.tep6
    [pool] = server.pool
    assert int(pool.span.last) - int(pool.span.first) + 1 == files.ADDRESSES
    assert len(CLIENTS) + len(GUESTS6) < files.ADDRESSES


def test_clients_ask_the_server(tmp_path: Path) -> None:
    file = tmp_path / "client1.toml"
    file.write_text(files.client_toml(tmp_path, "client1"))
    client = load_client(file)
    assert client.servers.hosts == (SERVER6,)
    assert client.servers.protocols == ("tsp",)
    assert client.lease.lifetime_s == files.LIFETIME_S
