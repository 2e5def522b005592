"""A real `dstm-server` whose store already holds many leases."""

from __future__ import annotations

import contextlib
import socket
import time
from ipaddress import IPv4Address
from typing import TYPE_CHECKING, Final, Protocol

import numpy as np

from dstmrouter.binding import address6
from dstmrouter.leases.lease import Lease
from dstmrouter.leases.state import State
from dstmrouter.leases.store import LeaseStore
from perf.gateway import START_S, TEP4, TEP6, Logged
from perf.packets import client6_of

if TYPE_CHECKING:
    from collections.abc import Iterator
    from ipaddress import IPv4Network
    from pathlib import Path

    from lab.netns import Namespace

LIFETIME_S: Final = 86_400
WRITTEN_AT_ONCE: Final = 100_000


def fill_store(path: Path, pool: IPv4Network, leases: int) -> None:
    """Write the first `leases` addresses of `pool` as lent."""
    store = LeaseStore(path)
    until = time.monotonic() + LIFETIME_S
    for first in range(0, leases, WRITTEN_AT_ONCE):
        numbers = range(first, min(first + WRITTEN_AT_ONCE, leases))
        ipv4 = np.uint32(int(pool.network_address)) + np.array(numbers, np.uint32)
        store.write(
            [
                Lease(
                    lease_id=number + 1,
                    ipv4=IPv4Address(int(address)),
                    client6=address6(words),
                    identity="",
                    state=State.ACTIVE,
                    until=until,
                )
                for number, address, words in zip(numbers, ipv4, client6_of(ipv4), strict=True)
            ]
        )
    store.close()


class Place(Protocol):
    """Where a server runs: a namespace, and a directory for its sockets and files."""

    @property
    def space(self) -> Namespace:
        """The network."""

    @property
    def directory(self) -> Path:
        """The files."""


@contextlib.contextmanager
def serving(
    place: Place, store: Path | str, pool: IPv4Network, clients: str = ""
) -> Iterator[ServerProcess]:
    """Run a server while the block runs.

    `store` is an SQLite file, or the section of the configuration for another store; `clients` are
    sections for client protocols.
    """
    config = place.directory / "server.toml"
    control = f"ipc://{place.directory}/server"
    section = store if isinstance(store, str) else f'[store]\npath = "{store}"\n'
    config.write_text(f"""\
[server]
name = "leases"
log_format = "json"
[lease]
max_s = {LIFETIME_S}
[[pool]]
prefix = "{pool}"
[tep]
tep6 = ["{TEP6}"]
tep4 = "{TEP4}"
[feed]
bind = "ipc://{place.directory}/feed"
control = "ipc://{place.directory}/feed-control"
[control]
bind = "{control}"
{section}{clients}""")
    server = ServerProcess(place, config, control)
    try:
        server.wait_ready()
        yield server
    finally:
        server.close()


class ServerProcess(Logged):
    """A running `dstm-server`; `start_s` is how long it took to serve."""

    def __init__(self, place: Place, config: Path, control: str) -> None:
        name = place.directory / "notify"
        name.unlink(missing_ok=True)
        self._notices = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._notices.settimeout(START_S)
        self._notices.bind(str(name))
        self.start_s = 0.0
        self._began = time.monotonic()
        super().__init__(place.space, "dstm-server", config, control, NOTIFY_SOCKET=str(name))

    def wait_ready(self) -> None:
        """Return when it says that it serves."""
        with self.shown_if_it_fails():
            notice = self._notices.recv(64)
        assert notice == b"READY=1", notice
        self.start_s = time.monotonic() - self._began

    def close(self) -> None:
        """Stop it."""
        self._notices.close()
        super().close()
