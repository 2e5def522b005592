"""What workers know of the ports: MAC address, MTU, tag; a small table in shared memory.

The supervisor writes it, and counts `generation` up before and after every change; workers copy
the table when they see a new even generation.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from dstmrouter.pipeline.memory import Octets

PORT: Final = np.dtype(
    [
        ("mac", "V6"),
        ("vlan", "<u2"),  # 0 = untagged
        ("mtu", "<u4"),  # of the link, in octets without the Ethernet header
        ("spare", "<u4"),
    ]
)
MAX_PORTS: Final = 8
_TABLE_AT: Final = 64  # octets; the generation has a cache line of its own


class PortTable:
    """View over one shared buffer."""

    SIZE: Final = _TABLE_AT + MAX_PORTS * PORT.itemsize

    def __init__(self, buffer: Octets) -> None:
        # Of a single number, a memory view takes half the time of an array.
        self._generation = np.ndarray(1, np.uint64, buffer, 0).data
        self._ports: npt.NDArray[np.void] = np.ndarray(MAX_PORTS, PORT, buffer, _TABLE_AT)

    @property
    def generation(self) -> int:
        """Counts changes, by two each; odd while one is under way."""
        generation: int = self._generation[0]
        return generation

    def set(self, port: int, *, mac: bytes, mtu: int, vlan: int | None) -> bool:
        """Describe a port; the supervisor's. Return whether anything has changed."""
        wanted = np.zeros((), PORT)
        wanted["mac"], wanted["mtu"], wanted["vlan"] = np.void(mac), mtu, vlan or 0
        if self._ports[port] == wanted:
            return False
        self._generation[0] += 1
        self._ports[port] = wanted
        self._generation[0] += 1
        return True

    def read(self) -> tuple[int, npt.NDArray[np.void]] | None:
        """Generation and a copy of all ports, dtype PORT; None while a change is under way."""
        generation = self.generation
        ports = self._ports.copy()
        if generation & 1 or generation != self.generation:
            return None
        return generation, ports
