"""A real `dstm-server` whose store already holds many leases."""

from __future__ import annotations

import contextlib
import time
from ipaddress import IPv4Address
from typing import TYPE_CHECKING, Final

import numpy as np

from dstmrouter.binding import address6
from dstmrouter.leases.lease import Lease
from dstmrouter.leases.state import State
from dstmrouter.leases.store import LeaseStore
from perf.gateway import TEP4, TEP6, Logged
from perf.packets import client6_of

if TYPE_CHECKING:
    from collections.abc import Iterator
    from ipaddress import IPv4Network
    from pathlib import Path

    from perf.gateway import Gateway

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


@contextlib.contextmanager
def serving(gateway: Gateway, store: Path, pool: IPv4Network) -> Iterator[Logged]:
    """Run a server on `store` while the block runs."""
    config = gateway.directory / "server.toml"
    control = f"ipc://{gateway.directory}/server"
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
[store]
path = "{store}"
[feed]
bind = "ipc://{gateway.directory}/feed"
control = "ipc://{gateway.directory}/feed-control"
[control]
bind = "{control}"
""")
    server = Logged(gateway.space, "dstm-server", config, control)
    try:
        server.wait_logged("serving")
        yield server
    finally:
        server.close()
