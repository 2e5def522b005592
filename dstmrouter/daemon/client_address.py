"""The client's end of the tunnel: which IPv6 address, and when it is time for another."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from dstmrouter.errors import DstmError
from dstmrouter.io.addresses6 import addresses6, kernel_source, lasting_source
from dstmrouter.io.rtnetlink import RECEIVE_LEN, notice_socket

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable
    from ipaddress import IPv6Address

    from dstmrouter.config.client import TunnelSection

SETTLE_S: Final = 0.2  # a network that changes says so in many notices


def choose6(config: TunnelSection, server: IPv6Address, current: IPv6Address | None) -> IPv6Address:
    """The address to ask `server` from, `current` as long as it is good; DstmError if none is."""
    found = addresses6()
    if config.client6 is not None:
        if not any(one.address == config.client6 and one.usable for one in found):
            raise DstmError(f"client6 {config.client6} is no usable address of this host")
        return config.client6
    preferred = kernel_source(server, config.interface)
    if preferred is None:
        raise DstmError(f"no IPv6 route, or no global address, to {server}")
    chosen = lasting_source(found, preferred, current)
    if chosen is None:
        raise DstmError(f"no usable IPv6 address towards {server}")
    return chosen


def has_lost(config: TunnelSection, server: IPv6Address, current: IPv6Address) -> bool:
    """Whether `current` can no longer be used, or should not because a better one is there."""
    usable = [one for one in addresses6() if one.address == current and one.usable]
    if usable and not usable[0].deprecated:
        return False
    try:
        return choose6(config, server, current) != current
    except DstmError:
        return not usable


async def watch_network(on_change: Callable[[], None]) -> None:
    """Call `on_change` whenever addresses, routes or links have changed, until cancelled."""
    loop = asyncio.get_running_loop()
    with notice_socket() as notices:
        while True:
            await _notice(loop, notices)
            await asyncio.sleep(SETTLE_S)
            with suppress(OSError):  # nothing left, or more than there was room for
                while True:
                    notices.recv(RECEIVE_LEN)
            on_change()


async def _notice(loop: asyncio.AbstractEventLoop, notices: socket.socket) -> None:
    """Return when there is a notice; it is not read."""
    ready = asyncio.Event()
    loop.add_reader(notices, ready.set)
    try:
        await ready.wait()
    finally:
        loop.remove_reader(notices)
