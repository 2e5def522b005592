"""A subscriber's side of the feed of usage: what to tell, what to ask for; no I/O and no clock.

Theory of operation. A PUB feed loses messages without a word, so they are numbered:

1. Nothing is asked before the feed was heard: a heartbeat proves the subscription.
2. When something is missing, as it is at first, all of it is asked for over the control socket:
   first what has ended, then what lasts. The last answer to the first question says up to which
   message the feed has said nothing newer; these are skipped, and all others taken.
3. Another epoch is another run of the router: again from 2, and its entries from number 1 on.

Asked in this order, nothing is told of an account after its end. Before, numbers may come late,
from a message that is older than the answer; they only grow, so the larger ones are true.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from dstmrouter.errors import DecodeError
from dstmrouter.zmqctl.fields import EPOCH_OCTETS, Check, number, octets
from dstmrouter.zmqctl.messages import Heartbeat, Message, UsageChanged, UsageEnded
from dstmrouter.zmqctl.usage_columns import (
    USAGE_ROWS_MAX,
    UsageColumns,
    unpack_ended,
    unpack_usage,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

_MS: Final = 1000
_epoch: Final = octets(EPOCH_OCTETS, EPOCH_OCTETS)
_count: Final = number(0, 2**63 - 1)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class UsageReport:
    """What some bindings have used in all.

    With `columns.until` they have ended, each once and with its last numbers. Else these are those
    of `at`; of two reports about an account the larger numbers are true. Bindings that have used
    nothing are in no report.
    """

    epoch: bytes  # of the router's run: accounts of another one are others
    columns: UsageColumns
    at: float | None = None  # seconds since 1970, by the router's clock; None: they have ended
    ended: int = 0  # number of the last entry told; with `epoch`, where to go on
    lost: int = 0  # entries before these that nobody has any more


class UsageFollower:
    """Put in what arrives; ask what `question` says.

    `epoch` and `ended` are those of the last report that is known already.
    """

    def __init__(self, epoch: bytes = b"", ended: int = 0) -> None:
        self.epoch = epoch
        self.ended = ended
        self.generation = 0  # up to which nothing is missing, or asked for
        self.gaps = 0
        self._heard = False
        self._asking: tuple[str, int] | None = ("usage.ended", 0)  # and after which place

    @property
    def complete(self) -> bool:
        """Whether all that the feed has said so far is told."""
        return self._heard and self._asking is None

    def on_feed(self, message: Message) -> UsageReport | None:
        """Take a message of the feed; return what is to be told."""
        if not isinstance(message, Heartbeat | UsageChanged | UsageEnded):
            raise DecodeError(f"{message.TYPE} in a feed of usage")
        if message.epoch != self.epoch:
            self.epoch, self.ended, self.generation = message.epoch, 0, message.generation
            self._asking = ("usage.ended", 0)
        elif message.generation > self.generation + (not isinstance(message, Heartbeat)):
            self.gaps += self._heard
            self._asking = ("usage.ended", 0)
        self._heard = True
        old = message.generation <= self.generation
        self.generation = max(self.generation, message.generation)
        if isinstance(message, UsageChanged) and not old:
            return self._lasting(message.bindings, message.at_ms)
        if isinstance(message, UsageEnded):
            return self._entries(message.bindings, message.after)
        return None

    def question(self) -> tuple[str, dict[str, Any]] | None:
        """Method and params of the call that is to be made now, if any is."""
        if self._asking is None or not self._heard:
            return None
        method, after = self._asking
        if method == "usage.ended":
            after = self.ended
        return method, {"after": after, "limit": USAGE_ROWS_MAX}

    def on_answer(self, answer: Mapping[str, Any]) -> UsageReport | None:
        """Take the answer to `question`; return what is to be told.

        DecodeError, and nothing has changed, if it is none.
        """
        assert self._asking is not None
        if _field(answer, "epoch", _epoch) != self.epoch:
            self.no_answer()  # the feed will say the same
            return None
        generation = _field(answer, "generation", _count)
        if self._asking[0] == "usage.ended":
            return self._on_ended(answer, generation)
        return self._on_lasting(answer, self._asking[1])

    def no_answer(self) -> None:
        """There is none to `question`: ask again when the feed says something."""
        self._heard = False

    def _on_ended(self, answer: Mapping[str, Any], generation: int) -> UsageReport | None:
        columns = _field(answer, "bindings", unpack_ended)
        last, lost = (_field(answer, name, _count) for name in ("after", "lost"))
        more = answer.get("more") is True
        before = last - len(columns)
        if not 0 <= before <= self.ended + lost or (more and last <= self.ended):
            raise DecodeError(f"after: {last} does not go on from {self.ended}")
        if not more:
            self.generation = max(self.generation, generation)
            self._asking = ("usage.bindings", 0)
        self.ended = max(self.ended, before)
        return self._entries(columns, before, lost)

    def _on_lasting(self, answer: Mapping[str, Any], before: int) -> UsageReport | None:
        columns = _field(answer, "bindings", unpack_usage)
        at_ms = _field(answer, "at_ms", _count)
        after = answer.get("after")
        if after is not None and _field(answer, "after", _count) <= before:
            raise DecodeError(f"after: {after} does not go on from {before}")
        self._asking = None if after is None else ("usage.bindings", after)
        return self._lasting(columns, at_ms)

    def _lasting(self, columns: UsageColumns, at_ms: int) -> UsageReport | None:
        used = np.flatnonzero(columns.usage.any(axis=1))
        if not len(used):  # who never used anything ends without an entry, so begins without one
            return None
        columns = columns.take(used)
        return UsageReport(epoch=self.epoch, columns=columns, at=at_ms / _MS, ended=self.ended)

    def _entries(self, columns: UsageColumns, after: int, lost: int = 0) -> UsageReport | None:
        """Tell the entries from number `after` + 1 on, but those that were told before."""
        if after > self.ended:  # some in between were not told, so ask for all of them
            self._asking = ("usage.ended", 0)
            return None
        new = columns.take(slice(self.ended - after, None))
        self.ended += len(new)
        if not len(new):
            return None
        return UsageReport(epoch=self.epoch, columns=new, ended=self.ended, lost=lost)


def _field(answer: Mapping[str, Any], name: str, check: Check) -> Any:
    try:
        return check(answer.get(name))
    except DecodeError as error:
        raise DecodeError(f"{name}: {error}") from None
