"""Bindings: which client may use which IPv4 address; what leases, feed and pipeline share.

A *binding* ties an IPv4 address (or a port set of it, RFC 7597 section 5.1) to the IPv6 address of
one client and to one of our tunnel end points (RFC 7596 section 6.1). Sets of bindings are never
lists of objects: a million of them is a handful of arrays, from the feed message to the forwarding
table.

`client6` holds the 16 octets as they stand on the wire, seen as two little-endian words. Only
equality is ever asked of them, so no byte is swapped anywhere.
"""

from __future__ import annotations

import dataclasses
import functools
from ipaddress import IPv4Address, IPv6Address
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from collections.abc import Sequence

Words6: TypeAlias = npt.NDArray[np.uint64]
"""IPv6 addresses, shape (n, 2), dtype '<u8': the wire octets as two little-endian words."""

OP_REMOVE: Final = 0
OP_PUT: Final = 1
LIFETIME_FOREVER: Final = 0xFFFFFFFF  # seconds; a binding that only a removal ends
USAGE_FIELDS: Final = (
    "packets_to_client",
    "octets_to_client",
    "packets_from_client",
    "octets_from_client",
)
"""What is counted for a binding; octets are those of IPv4 packets."""
TEXTS: Final = 4_096  # addresses whose texts are remembered: those of clients at work, 1 MB


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class BindingColumns:
    """Bindings, or changes of them, as columns of one length n.

    Lifetimes are relative, in seconds, counted from the moment the columns were made (feed messages
    carry no absolute time, so clocks of server and router need not agree).
    """

    op: npt.NDArray[np.uint8]  # (n,) OP_PUT or OP_REMOVE
    ipv4: npt.NDArray[np.uint32]  # (n,) native byte order
    client6: Words6  # (n, 2)
    tep: npt.NDArray[np.uint8]  # (n,) index into `tep6`
    psid_offset: npt.NDArray[np.uint8]  # (n,) bits, RFC 7597 "a"
    psid_len: npt.NDArray[np.uint8]  # (n,) bits, RFC 7597 "k"; 0 = the whole address
    psid: npt.NDArray[np.uint16]  # (n,)
    lifetime_s: npt.NDArray[np.uint32]  # (n,) seconds or LIFETIME_FOREVER
    tep6: tuple[IPv6Address, ...] = ()

    def __post_init__(self) -> None:
        n = len(self.op)
        for field in dataclasses.fields(self)[:-1]:
            column = getattr(self, field.name)
            assert len(column) == n, f"column {field.name} has {len(column)} entries, not {n}"
        assert self.client6.shape == (n, 2)

    def __len__(self) -> int:
        return len(self.op)

    def take(self, rows: npt.NDArray[np.intp] | slice) -> BindingColumns:
        """Return the bindings at `rows`, as a new set with the same `tep6`."""
        columns = {f.name: getattr(self, f.name)[rows] for f in dataclasses.fields(self)[:-1]}
        return BindingColumns(**columns, tep6=self.tep6)


def full_address_columns(
    ipv4: npt.NDArray[np.uint32],
    client6: Words6,
    *,
    lifetime_s: int | npt.NDArray[np.uint32],
    tep6: Sequence[IPv6Address],
    tep: npt.NDArray[np.uint8] | None = None,
) -> BindingColumns:
    """Columns that put whole-address bindings; `tep` defaults to the first of `tep6`."""
    n = len(ipv4)
    lifetimes = np.empty(n, np.uint32)
    lifetimes[:] = lifetime_s
    return BindingColumns(
        op=np.full(n, OP_PUT, np.uint8),
        ipv4=ipv4,
        client6=client6,
        tep=np.zeros(n, np.uint8) if tep is None else tep,
        psid_offset=np.zeros(n, np.uint8),
        psid_len=np.zeros(n, np.uint8),
        psid=np.zeros(n, np.uint16),
        lifetime_s=lifetimes,
        tep6=tuple(tep6),
    )


def concatenate(parts: Sequence[BindingColumns]) -> BindingColumns:
    """Join sets that share one `tep6` tuple."""
    assert parts, "nothing to join"
    assert len({p.tep6 for p in parts}) == 1, "sets with different tep6 lists"
    names = [f.name for f in dataclasses.fields(BindingColumns)[:-1]]
    columns = {name: np.concatenate([getattr(p, name) for p in parts]) for name in names}
    return BindingColumns(**columns, tep6=parts[0].tep6)


def words6(addresses: Sequence[IPv6Address]) -> Words6:
    """IPv6 addresses as an (n, 2) array of wire words."""
    octets = b"".join(a.packed for a in addresses)
    return np.frombuffer(octets, "<u8").reshape(-1, 2).copy()


def address6(words: npt.NDArray[np.uint64]) -> IPv6Address:
    """The IPv6 address of one row (shape (2,)) of wire words."""
    return IPv6Address(np.ascontiguousarray(words).tobytes())


@functools.lru_cache(TEXTS)
def told6(text: str) -> IPv6Address:
    """The IPv6 address that a peer writes as `text`; ValueError if it is none.

    A client says its address in several messages of a dialogue, and it costs 10 us to read.
    """
    return IPv6Address(text)


@functools.lru_cache(TEXTS)
def text6(address: IPv6Address) -> str:
    """An address as text, for messages and logs."""
    return str(address)


def address4(value: int | np.unsignedinteger[Any]) -> IPv4Address:
    """The IPv4 address of a native integer."""
    return IPv4Address(int(value))
