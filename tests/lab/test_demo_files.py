"""The demo's files are good configuration and fit together."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dstmrouter.config.load import load_client, load_router, load_server
from dstmrouter.zmqctl import KeyPair, write_keys
from lab import demo_files

if TYPE_CHECKING:
    from pathlib import Path


def test_both_files_load_and_fit(tmp_path: Path) -> None:
    keys = {name: KeyPair.generate() for name in ("router", "server")}
    for name, pair in keys.items():
        write_keys(pair, demo_files.secret_key(tmp_path, name))
    router_file, server_file = tmp_path / "router.toml", tmp_path / "server.toml"
    router_file.write_text(demo_files.router_toml(tmp_path, keys["server"].public))
    server_file.write_text(demo_files.server_toml(tmp_path, keys["router"].public))
    router, server = load_router(router_file), load_server(server_file)
    (feed,) = router.feed
    assert (feed.feed, feed.control) == (server.feed.bind, server.feed.control)
    assert feed.server == server.server.name
    assert server.feed.required == (router.router.name,)
    assert router.router.control == demo_files.control(tmp_path, "router")
    assert server.control.bind == demo_files.control(tmp_path, "server")
    assert (router.tunnel.tep6, router.tunnel.tep4) == (server.tep.tep6, server.tep.tep4)
    assert server.curve is not None
    assert [peer.public_key for peer in server.curve.allowed] == [keys["router"].public]
    assert server.tsp is not None
    assert server.tsp.tls is not None
    assert server.rpc is not None
    assert server.lease.min_s <= demo_files.LIFETIME_S


def test_clients_ask_the_server_in_its_protocols(tmp_path: Path) -> None:
    parts = {
        "tsp": demo_files.short_lease(),
        "tsps": demo_files.credentials(tmp_path),
        "rpc": "",
    }
    for protocol, more in parts.items():
        file = tmp_path / f"{protocol}.toml"
        file.write_text(demo_files.client_toml(tmp_path, "client1", protocol, more))
        client = load_client(file)
        assert client.servers.protocols == (protocol,)
        assert client.servers.hosts == (demo_files.SERVER6,)
        assert client.client.run_dir == demo_files.run_dir(tmp_path, "client1")
        assert client.lease.lifetime_s == (demo_files.LIFETIME_S if protocol == "tsp" else None)
        assert client.credentials.user == (demo_files.USER if protocol == "tsps" else None)
