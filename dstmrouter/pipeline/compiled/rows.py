"""The binding table, compiled: from an address, and a port, to a row."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from dstmrouter.jit.functions import NONE, ONE, Truth, U, field_at, inlined
from dstmrouter.jit.pointers import load8, load32
from dstmrouter.pipeline.bindings import BLOCK, ROW
from dstmrouter.pipeline.compiled import packet
from dstmrouter.pipeline.compiled.packet import OCTET

if TYPE_CHECKING:
    import numpy as np

    from dstmrouter.pipeline.compiled.views import World

_ROW_SIZE: Final = U(ROW.itemsize)
_EXPIRES_AT, _OFFSET_AT, _PSID_LEN_AT, _BASE_AT = (
    field_at(ROW, name) for name in ("expires", "psid_offset", "psid_len", "base")
)
_BLOCK_BITS: Final = U(BLOCK.bit_length() - 1)
_INDEX: Final = U(4)  # octets of a slot or directory entry
_PORT_BITS: Final = U(16)


@inlined
def slot_of(world: World, address: np.uint64) -> np.uint64:
    """Where the slot of a native address is."""
    slot = load32(world.directory + (address >> _BLOCK_BITS) * _INDEX) + (address & OCTET)
    return world.slots + slot * _INDEX


@inlined
def row_in(world: World, slot: np.uint64) -> np.uint64:
    """Where the row is that the slot at an address names."""
    return world.rows + load32(slot) * _ROW_SIZE


@inlined
def row_of(world: World, address: np.uint64) -> np.uint64:
    """Where the row is that speaks of a native address."""
    return row_in(world, slot_of(world, address))


@inlined
def row_of_set(world: World, shared: np.uint64, inner_at: np.uint64, place: np.uint64) -> np.uint64:
    """R2, R27: where the row of the port set is that the port at `place` is in.

    `shared` itself, which binds nothing, if that cannot be told from a normal packet.
    """
    if not packet.has_ports(inner_at, world):
        return shared
    port = packet.port_at(inner_at, place)
    offset, length = load8(shared + _OFFSET_AT), load8(shared + _PSID_LEN_AT)
    if offset and port >> (_PORT_BITS - offset) == NONE:
        return shared
    psid = port >> (_PORT_BITS - offset - length) & ((ONE << length) - ONE)
    slot = load32(shared + _BASE_AT) + psid
    return world.rows + load32(world.slots + slot * _INDEX) * _ROW_SIZE


@inlined
def is_alive(row: np.uint64, now_s: np.uint64) -> Truth:
    """Whether a row binds its address now; `expires` of what is not bound is 0."""
    return load32(row + _EXPIRES_AT) > now_s
