"""Flow labels: a keyed hash of the inner flow (RFC 6438 section 3, RFC 6437; rule R8)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np
import numpy.typing as npt

from dstmrouter.wire import ipv4
from dstmrouter.wire.constant import constant

if TYPE_CHECKING:
    from dstmrouter.pipeline.inner import Inner

# Multiplying by a secret odd number and taking the upper bits is universal hashing (Dietzfelbinger
# and others, 1997); here done twice, so that addresses and ports are both spread.
_WITH_PORTS: Final = constant(ipv4.PACKET_LEN, np.int64)
_HALF: Final = constant(32, np.uint64)
_LABEL_SHIFT: Final = constant(44, np.uint64)  # 20 bits stay
_LEAST: Final = constant(1, np.uint64)
# What the ports count: differently for each protocol that has them, nothing for the others.
PORT_WEIGHTS: Final = np.zeros(256, np.uint64)
for _protocol in ipv4.PROTOCOLS_WITH_PORTS:
    PORT_WEIGHTS[_protocol] = (0xA0761D6478BD642F * (2 * _protocol + 1)) & 0xFFFFFFFFFFFFFFFF


class FlowLabels:
    """Makes flow labels; `key` is two secret 64-bit numbers."""

    def __init__(self, key: tuple[int, int]) -> None:
        self._multiplier_1, self._multiplier_2 = (constant(part | 1, np.uint64) for part in key)

    def of(self, packets: Inner) -> npt.NDArray[np.uint64]:
        """One label a packet, shape (n,), 1..0xFFFFF; the same for all packets of a flow.

        A flow is addresses, protocol and ports for TCP, UDP, DCCP and SCTP. For other protocols and
        for fragments (of which only the first has ports) it is the pair of addresses, as it is for
        packets too short to have ports.
        """
        header = packets.header
        ports = header["dst_and_ports"] >> _HALF  # 2 us less than casting `ports`
        ports *= PORT_WEIGHTS.take(header["protocol"])
        if not packets.plain:
            ports[header["fragment"] & ipv4.FRAGMENT_BITS != 0] = 0
            ports[packets.total_len < _WITH_PORTS] = 0  # what stands there is not of this packet
        mixed = header["addresses"] * self._multiplier_1
        mixed += ports  # before the halves are mixed: ports in sequence spread worse for some keys
        mixed ^= mixed >> _HALF
        mixed *= self._multiplier_2
        mixed >>= _LABEL_SHIFT
        labels: npt.NDArray[np.uint64] = np.maximum(mixed, _LEAST)
        return labels
