"""How large packets may be, as far as ICMP errors are concerned: asked, and learned (R17, R21)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import numpy as np
import numpy.typing as npt

from dstmrouter.pipeline.rules import TUNNEL_HEADER_LEN

if TYPE_CHECKING:
    from dstmrouter.binding import Words6
    from dstmrouter.pipeline.decide import Mask
    from dstmrouter.pipeline.rules import TunnelRules


class PathMtus(Protocol):
    """What is known of the paths to clients; columns of n clients, addresses as wire words."""

    def tunnel_mtu(self, client6: Words6) -> npt.NDArray[np.int64]:
        """Octets of the largest IPv4 packet that reaches each client in one piece."""
        ...

    def learn(self, client6: Words6, mtu: npt.NDArray[np.int64], now_s: int) -> None:
        """Take note of valid Packet Too Big messages; `mtu` is theirs, 1280 or more."""
        ...

    def known(self, client6: Words6) -> Mask:
        """Which of the addresses have a binding now."""
        ...


class FixedMtu:
    """One MTU for all paths, which no message changes (RFC 7597 section 8.3.1)."""

    def __init__(self, rules: TunnelRules) -> None:
        self._tunnel_mtu = rules.path_mtu - TUNNEL_HEADER_LEN

    def tunnel_mtu(self, client6: Words6) -> npt.NDArray[np.int64]:
        """The same for all."""
        return np.full(len(client6), self._tunnel_mtu, np.int64)

    def learn(self, client6: Words6, mtu: npt.NDArray[np.int64], now_s: int) -> None:
        """Forget it."""

    def known(self, client6: Words6) -> Mask:
        """None: nothing would be learned of them."""
        return np.zeros(len(client6), np.bool_)
