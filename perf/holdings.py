"""Who has what in the benches: whole addresses, or port sets of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from dstmrouter.binding import full_address_columns
from perf.packets import client6_of

if TYPE_CHECKING:
    from ipaddress import IPv4Network, IPv6Address

    import numpy.typing as npt

    from dstmrouter.binding import BindingColumns, Words6

PSID_OFFSET, PSID_LEN = 6, 6  # 64 port sets of 1,008 ports an address
_REST: Final = 16 - PSID_OFFSET - PSID_LEN


class Holdings:
    """The first `count` addresses of `pool`, or as many port sets of as few as it takes.

    Clients are known by numbers from 0 on.
    """

    def __init__(self, pool: IPv4Network, count: int, *, sets: bool) -> None:
        self.count = count
        self.sets = sets
        self._first = np.uint32(int(pool.network_address))

    def ipv4(self, clients: npt.NDArray[np.uint32]) -> npt.NDArray[np.uint32]:
        """Their addresses."""
        return self._first + (clients >> np.uint32(PSID_LEN) if self.sets else clients)

    def client6(self, clients: npt.NDArray[np.uint32]) -> Words6:
        """Their IPv6 addresses."""
        return client6_of(self._first + clients)

    def ports(
        self, clients: npt.NDArray[np.uint32], rng: np.random.Generator
    ) -> npt.NDArray[np.uint16]:
        """A port at random that each may use."""
        ports = rng.integers(1 << (16 - PSID_OFFSET), 1 << 16, len(clients))
        if self.sets:
            psid_bits = (1 << PSID_LEN) - 1 << _REST
            ports = ports & ~psid_bits | _psid(clients).astype(np.int64) << _REST
        return ports.astype(np.uint16)

    def columns(self, tep6: IPv6Address) -> BindingColumns:
        """All bindings."""
        clients = np.arange(self.count, dtype=np.uint32)
        columns = full_address_columns(
            self.ipv4(clients), self.client6(clients), lifetime_s=3600, tep6=[tep6]
        )
        if self.sets:
            columns.psid_offset[:], columns.psid_len[:] = PSID_OFFSET, PSID_LEN
            columns.psid[:] = _psid(clients)
        return columns


def _psid(clients: npt.NDArray[np.uint32]) -> npt.NDArray[np.uint32]:
    return clients & np.uint32((1 << PSID_LEN) - 1)
