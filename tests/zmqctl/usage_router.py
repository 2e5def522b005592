"""Usage as a router tells it, and a router that is nothing but that."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

import numpy as np

from dstmrouter.zmqctl.messages import Heartbeat, Message, UsageChanged, UsageEnded
from dstmrouter.zmqctl.usage_columns import pack_usage
from tests.zmqctl.test_usage_columns import columns

if TYPE_CHECKING:
    from dstmrouter.zmqctl import UsageColumns

EPOCH, OTHER = bytes(range(16)), bytes(range(1, 17))


def lasting(*packets: int) -> UsageColumns:
    """Accounts 1, 2 ... with so many packets."""
    n = len(packets)
    usage = np.zeros((n, 4), np.uint64)
    usage[:, 0] = packets
    account = np.arange(1, n + 1, dtype=np.uint64)
    return dataclasses.replace(columns(n), account=account, usage=usage)


def entries(first: int, last: int) -> UsageColumns:
    """Entries `first` to `last`, of accounts 100 + number."""
    account = np.arange(100 + first, 101 + last, dtype=np.uint64)
    n = len(account)
    return dataclasses.replace(columns(n), account=account, until=np.full(n, 5.5))


def beat(generation: int, epoch: bytes = EPOCH) -> Message:
    return Heartbeat(epoch=epoch, generation=generation, interval_ms=1000)


class Router:
    """One account is at work at a time. What it sends waits in a queue; answers overtake it."""

    def __init__(self, epoch: bytes = EPOCH) -> None:
        self.epoch = epoch
        self.packets = 0
        self.finals: list[int] = []
        self.queue: list[Message] = []
        self._sent = self._told = 0

    def use(self) -> None:
        self.packets += 1

    def end(self) -> None:
        if self.packets:
            self.finals.append(self.packets)
            self.packets = 0

    def tell(self) -> None:
        if self._told < len(self.finals):
            self._sent += 1
            told = self._entries(self._told)
            self.queue.append(
                UsageEnded(epoch=self.epoch, generation=self._sent, after=self._told, bindings=told)
            )
            self._told = len(self.finals)
        if self.packets:
            self._sent += 1
            self.queue.append(
                UsageChanged(epoch=self.epoch, generation=self._sent, at_ms=1, bindings=self._now())
            )
        self.queue.append(beat(self._sent, self.epoch))

    def lose(self) -> None:
        del self.queue[:1]

    def answer(self, method: str, after: int) -> dict[str, Any]:
        where = {"epoch": self.epoch, "generation": self._sent, "at_ms": 1, "lost": 0}
        if method == "usage.ended":
            told = pack_usage(self._entries(after))
            return where | {"after": len(self.finals), "bindings": told}
        return where | {"after": None, "bindings": pack_usage(self._now())}

    def _now(self) -> UsageColumns:
        account = np.array([len(self.finals) + 1], np.uint64)
        return dataclasses.replace(lasting(self.packets), account=account)

    def _entries(self, after: int) -> UsageColumns:
        until = np.zeros(len(self.finals) - after)
        return dataclasses.replace(lasting(*self.finals[after:]), until=until)
