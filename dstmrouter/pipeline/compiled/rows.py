"""The binding table, compiled: from an address, and a port, to a row."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from dstmrouter.jit.functions import NONE, ONE, Truth, U, field_at, inlined
from dstmrouter.jit.pointers import load32
from dstmrouter.pipeline.bindings import BLOCK, DIVISION_BITS, ROW, SET_SLOTS_MAX
from dstmrouter.pipeline.compiled import packet
from dstmrouter.pipeline.compiled.packet import OCTET

if TYPE_CHECKING:
    import numpy as np

    from dstmrouter.pipeline.compiled.views import World

_ROW_SIZE: Final = U(ROW.itemsize)
_EXPIRES_AT: Final = field_at(ROW, "expires")
_BLOCK_BITS: Final = U(BLOCK.bit_length() - 1)
_INDEX: Final = U(4)  # octets of a slot or directory entry
_PORT_BITS, _PORTS, _PORT = U(16), U(1 << 16), U(0xFFFF)
_DIVISION_BITS, _FIRST = U(DIVISION_BITS), U(SET_SLOTS_MAX - 1)


@inlined
def directory_at(world: World, address: np.uint64) -> np.uint64:
    """Where the directory tells of the /24 of a native address."""
    return world.directory + (address >> _BLOCK_BITS) * _INDEX


@inlined
def slot_of(world: World, address: np.uint64) -> np.uint64:
    """Where the slot of a native address is."""
    slot = load32(directory_at(world, address)) + (address & OCTET)
    return world.slots + slot * _INDEX


@inlined
def row_in(world: World, slot: np.uint64) -> np.uint64:
    """Where the row is that the slot at an address names."""
    return world.rows + load32(slot) * _ROW_SIZE


@inlined
def division_at(world: World, slot: np.uint64) -> np.uint64:
    """Where it is told how the address is divided that has the slot at an address."""
    return world.divided + (slot - world.slots)


@inlined
def slot_of_set(world: World, slot: np.uint64, inner_at: np.uint64, place: np.uint64) -> np.uint64:
    """R2, R27: where the slot of the port set is that the port at `place` is in.

    `slot`, of the address, if that is not shared, or if the set cannot be told from a normal
    packet: the row of a shared address binds nothing.
    """
    division = load32(division_at(world, slot))
    if division == NONE or not packet.has_ports(inner_at, world):
        return slot
    port, offset = packet.port_at(inner_at, place), division >> _DIVISION_BITS
    if port < (_PORTS >> offset & _PORT):
        return slot
    mark = division & (NONE - division)
    psid = (port << offset & _PORT) * (mark << ONE) >> _PORT_BITS
    first = (division ^ mark) & _FIRST
    return world.set_slots + (first + psid) * _INDEX


@inlined
def is_alive(row: np.uint64, now_s: np.uint64) -> Truth:
    """Whether a row binds its address now; `expires` of what is not bound is 0."""
    return load32(row + _EXPIRES_AT) > now_s
