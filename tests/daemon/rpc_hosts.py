"""A namespace with addresses of a server and of clients: so a call can come from its client6."""

from __future__ import annotations

import contextlib
from ipaddress import IPv6Address
from typing import TYPE_CHECKING, Final

from lab.netns import Lab
from tests.leases.lending import client

if TYPE_CHECKING:
    from collections.abc import Iterator

    from lab.netns import Namespace

SERVER6: Final = IPv6Address("2001:db8:5::1")
OTHER6: Final = IPv6Address("2001:db8:5::2")
CLIENTS: Final = range(1, 5)


@contextlib.contextmanager
def hosts() -> Iterator[Namespace]:
    """One host with all these addresses."""
    with Lab() as lab:
        space = lab.namespace("rpc")
        for address in (SERVER6, OTHER6, *map(client, CLIENTS)):
            space.address("lo", f"{address}/128")
        yield space
