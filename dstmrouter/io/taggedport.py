"""Several ports on one interface, told apart by 802.1Q tags: one-armed routers.

The interface has one pair of rings per queue. The first of its ports receives for all of them and
keeps what the others' tags name until they are asked, in the same turn of the engine. What they
send goes to the same ring. Ports with an interface of their own are not touched by any of this.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from dstmrouter.io.port import RingFill
from dstmrouter.io.umem import DESC
from dstmrouter.wire import ether

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt

    from dstmrouter.io.port import Port
    from dstmrouter.io.umem import Addrs, Descs

_NOTHING: Final = RingFill(fill=0, rx=0, tx=0, completion=0)
_TYPES_LEN: Final = ether.TYPES.itemsize


def parted(ports: Sequence[tuple[Port, int | None]], octets: npt.NDArray[np.uint8]) -> list[Port]:
    """Ports for an engine, out of interfaces and VLANs; `octets` is the memory of their frames.

    Where a port stands more than once, `TagPort`s take its place.
    """
    lines: dict[int, _Line] = {}
    for port, vlan in ports:
        lines.setdefault(id(port), _Line(port, octets)).vlans.append(vlan or 0)
    taken: dict[int, int] = {}
    made: list[Port] = []
    for port, _ in ports:
        line = lines[id(port)]
        number = taken.get(id(port), 0)
        taken[id(port)] = number + 1
        made.append(port if len(line.vlans) == 1 else TagPort(line, number))
    return made


class _Line:
    """An interface, and what was received for each of its ports and not taken yet."""

    def __init__(self, port: Port, octets: npt.NDArray[np.uint8]) -> None:
        self.port = port
        self.vlans: list[int] = []  # VIDs; 0 for untagged frames
        size = len(octets) - _TYPES_LEN + 1
        self._types: npt.NDArray[np.void] = np.ndarray(size, f"V{_TYPES_LEN}", octets, 0, (1,))
        self._waiting: dict[int, deque[Descs]] = {}

    def waiting(self) -> int:
        """Frames that were received and not taken."""
        return sum(len(part) for parts in self._waiting.values() for part in parts)

    def receive(self, number: int, limit: int) -> Descs:
        """Take what waits for a port; the first one has the interface asked if nothing waits."""
        if number == 0 and not self.waiting():
            self._part(self.port.receive(limit))
        parts = self._waiting.get(number)
        if not parts:
            return np.empty(0, DESC)
        part = parts.popleft()
        if len(part) > limit:
            parts.appendleft(part[limit:])
        return part[:limit]

    def _part(self, descs: Descs) -> None:
        """Sort frames by tag. Those of no port go to the first, which counts and drops them."""
        if not len(descs):
            return
        at = descs["addr"].astype(np.intp) + ether.TYPES_AT
        types = self._types[at].view(ether.TYPES)
        tagged = types["type"] == ether.ETHERTYPE_VLAN
        vids = np.where(tagged, types["tci"] & ether.VID_MASK, 0)
        other = np.ones(len(descs), np.bool_)
        for number, vlan in enumerate(self.vlans[1:], start=1):
            mine = vids == vlan
            other &= ~mine
            self._keep(number, descs[mine])
        self._keep(0, descs[other])

    def _keep(self, number: int, part: Descs) -> None:
        if len(part):
            self._waiting.setdefault(number, deque()).append(part)


class TagPort:
    """A `Port` that shares its interface; number 0 does what is done once for all of them."""

    def __init__(self, line: _Line, number: int) -> None:
        self._line = line
        self._number = number
        self.interface = line.port
        self.first = number == 0
        vlan = line.vlans[number]
        self.name = f"{line.port.name}.{vlan}" if vlan else line.port.name

    @property
    def mode_taken(self) -> str:
        """As the interface was opened."""
        return str(getattr(self.interface, "mode_taken", "packet_mmap"))

    @property
    def sends(self) -> str:
        """As the interface does."""
        return str(getattr(self.interface, "sends", "socket"))

    @property
    def mode_notes(self) -> list[Any]:
        """Why no better mode was taken."""
        return list(getattr(self.interface, "mode_notes", ()))

    def fileno(self) -> int:
        """The interface's."""
        return self.interface.fileno()

    def refill_room(self) -> int:
        """How many frames the interface would take; none by another port than the first."""
        return 0 if self._number else self.interface.refill_room()

    def refill(self, addrs: Addrs) -> int:
        """Hand over as many of `addrs` as fit."""
        return 0 if self._number else self.interface.refill(addrs)

    def receive(self, limit: int) -> Descs:
        """Take up to `limit` received packets with the port's tag."""
        return self._line.receive(self._number, limit)

    def transmit(self, descs: Descs) -> int:
        """Hand over as many of `descs` as fit."""
        return self.interface.transmit(descs)

    def flush(self) -> None:
        """Tell the kernel about handed-over frames."""
        if self._number == 0:
            self.interface.flush()

    def reclaim(self) -> Addrs:
        """Take back frames that have been sent, whichever port sent them."""
        return np.empty(0, np.uint64) if self._number else self.interface.reclaim()

    def held(self) -> RingFill:
        """What the interface holds, told by its first port; `rx` includes what waits for others."""
        if self._number:
            return _NOTHING
        held = self.interface.held()
        rx = held.rx + self._line.waiting()
        return RingFill(fill=held.fill, rx=rx, tx=held.tx, completion=held.completion)

    def use_compiled(self) -> None:
        """Load compiled code, where the interface has some."""
        if self._number == 0:
            self.interface.use_compiled()

    def statistics(self) -> dict[str, int]:
        """The kernel's counters of the interface, told by its first port."""
        return {} if self._number else self.interface.statistics()

    def close(self) -> None:
        """Close the interface; harmless when repeated."""
        self.interface.close()
