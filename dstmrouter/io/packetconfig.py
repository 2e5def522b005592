"""Sizes and sharing of a packet_mmap port."""

from __future__ import annotations

import dataclasses
from types import MappingProxyType
from typing import TYPE_CHECKING, Final, Literal, TypeAlias

from dstmrouter.errors import ConfigError
from dstmrouter.io import uapi_packet as uapi

if TYPE_CHECKING:
    from collections.abc import Iterator

FanoutType: TypeAlias = Literal["hash", "cpu", "queue"]
_FANOUT: Final = MappingProxyType(
    {
        "hash": uapi.PACKET_FANOUT_HASH,
        "cpu": uapi.PACKET_FANOUT_CPU,
        "queue": uapi.PACKET_FANOUT_QM,
    }
)
TX_SLOTS_PER_BLOCK: Final = 16  # fills whole pages, whatever the chunk size
_MIN_BLOCK: Final = 1 << 14  # octets; the longest frame fits several times


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class PacketMmapConfig:
    """Sizes of the rings; the receive ring takes `block_size * blocks` octets of locked memory.

    The defaults, 16 MiB, hold 90,000 small packets: 90 ms at 1 Mpps. A packet waits at most
    `retire_ms` for its block to be handed over, full or not; so at low rates the ring bridges
    `blocks * retire_ms` in which nobody receives. That is why there are many small blocks: a new
    worker is in its fanout group for some 50 ms before its first turn, and half a second of a
    busy machine must not cost packets. A packet longer than a block (only GRO and GSO make them)
    is cut by the kernel and counted as `too_long` like the others.
    """

    block_size: int = 1 << 15  # octets
    blocks: int = 512
    retire_ms: int = 1
    tx_slots: int = 2048
    fill_slots: int = 4096
    filter_fd: int | None = None  # program that says which packets the port gets; None: all
    fanout_group: int | None = None  # None: this port gets every packet of the interface
    fanout_type: FanoutType = "hash"

    def __post_init__(self) -> None:
        for name, expected in self._misfits():
            raise ConfigError(f"{name} must be {expected}, not {getattr(self, name)}")

    @property
    def fanout(self) -> int | None:
        """The value of PACKET_FANOUT: group and type; None without a group."""
        if self.fanout_group is None:
            return None
        return self.fanout_group | _FANOUT[self.fanout_type] << 16

    def _misfits(self) -> Iterator[tuple[str, str]]:
        if self.block_size < _MIN_BLOCK or self.block_size & (self.block_size - 1):
            yield "block_size", f"a power of two of at least {_MIN_BLOCK}"
        if self.blocks < 2:
            yield "blocks", "at least 2"
        if self.retire_ms < 1:
            yield "retire_ms", "at least 1"
        if self.tx_slots < 1 or self.tx_slots % TX_SLOTS_PER_BLOCK:
            yield "tx_slots", f"a multiple of {TX_SLOTS_PER_BLOCK}"
        if self.fill_slots < 1:
            yield "fill_slots", "at least 1"
        if self.fanout_group is not None and not 0 <= self.fanout_group <= 0xFFFF:
            yield "fanout_group", "0 to 65535"
        if self.fanout_type not in _FANOUT:
            yield "fanout_type", f"one of {', '.join(_FANOUT)}"
