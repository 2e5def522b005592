"""How large packets to clients may be, as far as ICMP errors are concerned (R17, R21, R22)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from dstmrouter.binding import Words6
    from dstmrouter.pipeline.decide import Mask
    from dstmrouter.pipeline.outcome import Tables
    from dstmrouter.pipeline.rules import TunnelRules


class ClientMtus:
    """What is known of the paths to clients; columns of n clients, addresses as wire words."""

    def __init__(self, rules: TunnelRules, tables: Tables) -> None:
        self._rules = rules
        self._path_mtus = tables.path_mtus
        self._clients = tables.clients6

    def tunnel_mtu(self, client6: Words6, now_s: float) -> npt.NDArray[np.int64]:
        """Octets of the largest IPv4 packet that reaches each client in one piece."""
        learnt = self._path_mtus.look_up(client6, int(now_s)) - self._rules.overhead
        mtus: npt.NDArray[np.int64] = np.minimum(learnt, self._rules.tunnel_mtu)
        return mtus

    def learn(self, client6: Words6, mtu: npt.NDArray[np.int64], now_s: float) -> None:
        """Take note of valid Packet Too Big messages; `mtu` is theirs, in octets."""
        known = np.minimum(self._path_mtus.look_up(client6, int(now_s)), self._rules.path_mtu)
        for row in np.flatnonzero(mtu < known).tolist():
            self._path_mtus.learn(client6[row : row + 1], int(mtu[row]), int(now_s))

    def known(self, client6: Words6) -> Mask:
        """Which of the addresses may have a binding now; never wrong about those that have."""
        return self._clients.has(client6)
