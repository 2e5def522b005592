"""The lab's files are valid configuration and fit together."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dstmrouter.config.load import load_router, load_server
from lab.settings import Settings

if TYPE_CHECKING:
    from pathlib import Path


def test_both_files_load_and_fit(tmp_path: Path) -> None:
    settings = Settings(directory=tmp_path, mode="generic", workers=2)
    router_path, server_path = settings.write()
    router, server = load_router(router_path), load_server(server_path)
    assert [port.mode for port in router.port] == ["generic", "generic"]
    assert router.router.workers == 2
    assert router.router.control == settings.router_control
    assert server.control.bind == settings.server_control
    (feed,) = router.feed
    assert (feed.feed, feed.control) == (server.feed.bind, server.feed.control)
    assert server.feed.required == (router.router.name,)
    assert (router.tunnel.tep6, router.tunnel.tep4) == (server.tep.tep6, server.tep.tep4)


def test_pushed_bindings_need_no_server(tmp_path: Path) -> None:
    router_path, _ = Settings(directory=tmp_path, with_server=False).write()
    assert load_router(router_path).feed == ()
