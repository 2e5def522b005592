"""The receive ring of a packet socket, TPACKET_V3: blocks that the kernel fills with packets.

The kernel hands over whole blocks, when they are full or `retire_ms` after their first packet. In a
block, each packet's header says where the next one is; that walk is the only Python loop over
packets here (60 ns a step). See Documentation/networking/packet_mmap.rst.

The kernel writes a block before it sets the block's status, and does not touch it again until the
status is set back. That this order is seen here too is the assumption written in `io/ring.py`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from dstmrouter.io.records import records_at_every_octet
from dstmrouter.io.uapi_packet import BLOCK, PACKET, TP_STATUS_KERNEL, TP_STATUS_USER

if TYPE_CHECKING:
    import numpy.typing as npt

    from dstmrouter.io.records import Memory, Offsets

_WORD: Final = 4  # octets


def _word(field: str) -> int:
    """Index of a field of the block's header, in words."""
    fields = BLOCK.fields
    assert fields is not None
    return fields[field][1] // _WORD


_STATUS: Final = _word("status")
_PACKETS: Final = _word("num_pkts")
_FIRST: Final = _word("offset_to_first_pkt")


class BlockRing:
    """The blocks in `memory`, `block_size` octets each, walked in order, round and round.

    `take` gives the positions of packet headers. Their packets stay as they are until `release`,
    which gives the blocks that have been taken to the end back to the kernel.
    """

    def __init__(self, memory: Memory, block_size: int) -> None:
        self._words = memoryview(memory).cast("B").cast("I")
        self._block_words = block_size // _WORD
        self.block_size = block_size
        self.blocks = len(self._words) // self._block_words
        self._headers = records_at_every_octet(memory, PACKET.itemsize)
        # Block that is walked, packets of it that have not been taken, octet of the next of them.
        self.state = np.zeros(3, np.uint64)
        self._done: list[int] = []  # status words of the blocks that wait for `release`

    def ready(self) -> bool:
        """Tell whether `take` would find a packet."""
        block, left, _ = self.state.tolist()
        return left > 0 or self.is_ours(block)

    def take(self, limit: int) -> Offsets:
        """Take up to `limit` packets, in the order of arrival; octet positions of their headers."""
        taken: list[int] = []
        block, left, at = self.state.tolist()
        at //= _WORD
        while len(taken) < limit:
            if not left:
                if not self.is_ours(block):
                    break
                left, at = self._open_block(block)
            n = min(left, limit - len(taken))
            at = self._walk(at, n, taken)
            left -= n
            if not left:
                self._done.append(block * self._block_words + _STATUS)
                block = (block + 1) % self.blocks
        self.state[:] = block, left, at * _WORD
        return np.array(taken, np.int64) * _WORD

    def headers(self, at: Offsets) -> npt.NDArray[np.void]:
        """Copy the headers at these positions; dtype PACKET."""
        return self._headers[at].view(PACKET)

    def release(self) -> None:
        """Give the blocks that have been taken to the end back to the kernel."""
        for status in self._done:
            self._words[status] = TP_STATUS_KERNEL
        self._done.clear()

    def close(self) -> None:
        """Drop the views of the memory, so that it can be unmapped; nothing works afterwards."""
        self._headers = np.empty(0, "V1")
        self._words.release()

    def is_ours(self, block: int) -> bool:
        """Whether the kernel has handed a block over, and it was not taken to its end."""
        status = block * self._block_words + _STATUS
        # After a whole turn of the ring the status of a block not yet released is still ours.
        return bool(self._words[status] & TP_STATUS_USER) and status not in self._done

    def _open_block(self, block: int) -> tuple[int, int]:
        """Packets of a block, and the word at which the first one is."""
        start = block * self._block_words
        packets = self._words[start + _PACKETS]
        assert packets, "a block without packets"
        return packets, start + self._words[start + _FIRST] // _WORD

    def _walk(self, at: int, n: int, taken: list[int]) -> int:
        words = self._words
        for _ in range(n):
            taken.append(at)
            at += words[at] // _WORD
        return at
