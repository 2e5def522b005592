"""Callers of a control socket: blocking for command lines, asyncio for daemons."""

from __future__ import annotations

import asyncio
import itertools
import time
from typing import TYPE_CHECKING, Any, Self

import zmq
import zmq.asyncio

from dstmrouter.errors import ControlError, DecodeError
from dstmrouter.zmqctl.endpoint import check_endpoint, connect
from dstmrouter.zmqctl.messages import CALLS_MAX, Call, Failure, Message, Reply, decode, encode

if TYPE_CHECKING:
    from dstmrouter.zmqctl.keys import CurveClient
    from dstmrouter.zmqctl.messages import Push, Pushed


class RefusedError(ControlError):
    """The other side answered and refused; `reason` is its machine-readable word."""

    def __init__(self, reason: str, text: str) -> None:
        super().__init__(text)
        self.reason = reason


class ControlClient:
    """One conversation at a time with the control socket at `endpoint`; blocking.

    Raises ConfigError at once for an endpoint that is not allowed. A request that got no answer is
    forgotten with its connection, so it cannot be delivered later.
    """

    def __init__(self, endpoint: str, *, curve: CurveClient | None = None) -> None:
        check_endpoint(endpoint, curve=curve is not None)
        self.endpoint = endpoint
        self._curve = curve
        self._ids = itertools.count(1)
        self._socket: zmq.Socket[bytes] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connection; the next request opens a new one. May be called again."""
        if self._socket is not None:
            self._socket.close(linger=0)
            self._socket = None

    def call(self, method: str, timeout_s: float = 5.0, **params: Any) -> dict[str, Any]:
        """Return the result of `method`; ControlError when it failed or nobody answered in time."""
        call = Call(id=self.next_id(), method=method, params=params)
        answer = self.exchange(call, timeout_s)
        if not isinstance(answer, Reply):
            raise ControlError(f"{self.endpoint}: {method}: unexpected answer {answer.TYPE}")
        return answer.result

    def next_id(self) -> int:
        """Return a number no earlier request of this client had."""
        return next(self._ids)

    def exchange(self, request: Call | Push, timeout_s: float) -> Reply | Pushed:
        """Send one request and wait for its answer; ControlError for a failure or silence."""
        deadline = time.monotonic() + timeout_s
        octets = encode(request)
        try:
            self._send(octets, timeout_s)
            while True:
                answer = self._receive(deadline)
                if getattr(answer, "id", None) != request.id and not _is_malformed(answer):
                    continue  # the answer to a request that was given up
                if isinstance(answer, Failure):
                    raise RefusedError(answer.reason, answer.text)
                return answer  # type: ignore[return-value]  # only these two carry our id
        except zmq.ZMQError as error:
            raise ControlError(f"{self.endpoint}: {error.strerror}") from error

    def _open(self) -> zmq.Socket[bytes]:
        if self._socket is None:
            self._socket = zmq.Context.instance().socket(zmq.DEALER)
            connect(self._socket, self.endpoint, curve=self._curve)
        return self._socket

    def _send(self, octets: bytes, timeout_s: float) -> None:
        # ZeroMQ gives up a connection whose handshake failed; sending would then wait for ever
        socket = self._open()
        socket.setsockopt(zmq.SNDTIMEO, max(1, round(timeout_s * 1000)))
        try:
            socket.send(octets)
        except zmq.Again:
            self.close()
            raise ControlError(f"{self.endpoint}: no connection; are the keys right?") from None

    def _receive(self, deadline: float) -> Message:
        socket = self._open()
        wait_ms = max(0, round((deadline - time.monotonic()) * 1000))
        if not socket.poll(wait_ms):
            self.close()
            raise ControlError(f"{self.endpoint}: no answer in time; is the daemon running?")
        try:
            return decode(socket.recv())
        except DecodeError as error:
            raise ControlError(f"{self.endpoint}: {error}") from error


class AsyncControlClient:
    """Any number of calls at the same time to one control socket; made inside the event loop.

    As many as a server works on are on their way, the others wait for their turn until their
    deadlines. A server that once refused our key is not tried again: make a new client then.
    """

    def __init__(self, endpoint: str, *, curve: CurveClient | None = None) -> None:
        self.endpoint = endpoint
        self._ids = itertools.count(1)
        self._waiting: dict[int, asyncio.Future[Message]] = {}
        self._turns = asyncio.Semaphore(CALLS_MAX)
        self._socket = zmq.asyncio.Context.instance().socket(zmq.DEALER)
        # What nobody takes is not kept without end; calls wait then until their deadlines. libzmq
        # counts in steps of half of it, so it has to be more than the calls that are on their way.
        self._socket.setsockopt(zmq.SNDHWM, 2 * CALLS_MAX)
        connect(self._socket, endpoint, curve=curve)
        self._reader = asyncio.create_task(self._read_all())

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connection; calls under way are cancelled. May be called again."""
        self._reader.cancel()
        for future in self._waiting.values():
            future.cancel()
        if not self._socket.closed:
            self._socket.close(linger=0)

    async def call(self, method: str, timeout_s: float = 5.0, **params: Any) -> dict[str, Any]:
        """Return the result of `method`; ControlError when it failed or nobody answered in time."""
        call = Call(id=next(self._ids), method=method, params=params)
        answer = self._waiting[call.id] = asyncio.get_running_loop().create_future()
        try:
            async with asyncio.timeout(timeout_s), self._turns:
                if not answer.done():  # as it is when we were closed before it was our turn
                    await self._socket.send(encode(call))
                message = await answer
        except TimeoutError:
            raise ControlError(f"{self.endpoint}: {method}: no answer in time") from None
        finally:
            del self._waiting[call.id]
        if isinstance(message, Failure):
            raise RefusedError(message.reason, message.text)
        if not isinstance(message, Reply):
            raise ControlError(f"{self.endpoint}: {method}: unexpected answer {message.TYPE}")
        return message.result

    async def _read_all(self) -> None:
        while True:
            octets = await self._socket.recv()
            try:
                message = decode(octets)
            except DecodeError:
                continue  # the call it may have answered runs into its deadline
            future = self._waiting.get(getattr(message, "id", 0))
            if future is not None and not future.done():
                future.set_result(message)


def _is_malformed(answer: Message) -> bool:
    return isinstance(answer, Failure) and answer.id == 0
