"""`UsageSubscriber`: how a program that bills or watches is told what bindings have used.

    feed, control = "ipc:///run/dstm-router/usage", "ipc:///run/dstm-router/control"
    with UsageSubscriber(feed, control) as subscriber:
        for report in subscriber:
            store(report)

The messages are public (docs/zmq-protocol.md); this class is one way to receive them. All decisions
are in `usage_follower.py`.
"""

from __future__ import annotations

import collections
import time
from typing import TYPE_CHECKING, Final, Self

import zmq

from dstmrouter.errors import ControlError, DecodeError
from dstmrouter.zmqctl.client import ControlClient
from dstmrouter.zmqctl.endpoint import connect
from dstmrouter.zmqctl.messages import Heartbeat, decode
from dstmrouter.zmqctl.usage_follower import UsageFollower, UsageReport

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    from dstmrouter.zmqctl.keys import CurveClient

QUEUE_MAX: Final = 256  # messages ZeroMQ may hold for us, 80 MB; a hole leads to questions
REOPEN_S: Final = 30.0  # of silence, and at least that many heartbeats
REOPEN_INTERVALS: Final = 6


class UsageSubscriber:
    """Receives all that a router counts, whichever side restarts; blocking, not thread-safe.

    `feed` is its `[usage_feed] bind`, `control` its control socket; `curve` is used for those of
    them that are not local. `epoch` and `ended` of the last report that was stored, if any, have
    what ended since told, and not what ended before. Raises ConfigError for an endpoint that is not
    allowed.
    """

    def __init__(
        self,
        feed: str,
        control: str,
        *,
        curve: CurveClient | None = None,
        epoch: bytes = b"",
        ended: int = 0,
        timeout_s: float = 10.0,
    ) -> None:
        self.counters: collections.Counter[str] = collections.Counter()
        self._endpoint = feed
        self._curve = None if feed.startswith("ipc:") else curve
        self._client = ControlClient(control, curve=None if control.startswith("ipc:") else curve)
        self._timeout_s = timeout_s
        self._follower = UsageFollower(epoch, ended)
        self._patience_s = REOPEN_S
        self._socket = self._open()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __iter__(self) -> Iterator[UsageReport]:
        while True:
            report = self.take()
            if report is not None:
                yield report

    @property
    def complete(self) -> bool:
        """Whether everything up to the last message is told; false while something is asked for."""
        return self._follower.complete

    def close(self) -> None:
        """Close the connections. May be called again."""
        self._client.close()
        self._socket.close(linger=0)

    def take(self, timeout_s: float | None = None) -> UsageReport | None:
        """Return the next report; None if there is none within `timeout_s`. Never gives up.

        What the router does not answer is asked for again, so it may be away or come back anew; a
        question under way may take longer than `timeout_s`.
        """
        deadline = None if timeout_s is None else time.monotonic() + timeout_s
        while True:
            question = self._follower.question()
            if question is not None:
                report = self._ask(*question)
            elif self._wait(deadline):
                report = self._receive()
            else:
                return None
            if report is not None:
                return report

    def _ask(self, method: str, params: dict[str, Any]) -> UsageReport | None:
        try:
            return self._follower.on_answer(self._client.call(method, self._timeout_s, **params))
        except DecodeError:
            self.counters["malformed"] += 1
        except ControlError:
            self.counters["unanswered"] += 1
        self._follower.no_answer()
        return None

    def _receive(self) -> UsageReport | None:
        octets = b"".join(self._socket.recv_multipart())
        self._heard_at = time.monotonic()
        gaps = self._follower.gaps
        try:
            message = decode(octets)
            report = self._follower.on_feed(message)
        except DecodeError:
            self.counters["malformed"] += 1
            return None
        if isinstance(message, Heartbeat):
            self._patience_s = max(REOPEN_S, REOPEN_INTERVALS * message.interval_ms / 1000)
        self.counters["gaps"] += self._follower.gaps - gaps
        return report

    def _wait(self, deadline: float | None) -> bool:
        """Whether a message is there before `deadline`."""
        while True:
            now = time.monotonic()
            if now >= self._heard_at + self._patience_s:
                self.counters["reconnects"] += 1
                self._socket.close(linger=0)
                self._socket = self._open()
            until = self._heard_at + self._patience_s
            until = until if deadline is None else min(until, deadline)
            if self._socket.poll(max(0, round((until - now) * 1000))):
                return True
            if deadline is not None and time.monotonic() >= deadline:
                return False

    def _open(self) -> zmq.Socket[bytes]:
        """A new connection: ZeroMQ reconnects by itself, except where a handshake failed."""
        socket: zmq.Socket[bytes] = zmq.Context.instance().socket(zmq.SUB)
        socket.setsockopt(zmq.RCVHWM, QUEUE_MAX)
        socket.setsockopt(zmq.SUBSCRIBE, b"")
        connect(socket, self._endpoint, curve=self._curve)
        self._heard_at = time.monotonic()
        return socket
