"""The control socket of router and server: one ZeroMQ ROUTER for calls, pushes and routers.

Every peer is hostile until proven otherwise: what cannot be decoded is counted and answered with an
error, the number of calls at work is limited, and nothing is ever queued for a peer that does not
read. Calls run as tasks of their own, because the answer to one (a grant) may need a later message
on the same socket (the acknowledgement of a router).
"""

from __future__ import annotations

import asyncio
import collections
from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING, Any, Final, TypeAlias, TypeVar

import structlog
import zmq
import zmq.asyncio

from dstmrouter.errors import DecodeError, DstmError, LeaseError
from dstmrouter.zmqctl.auth import KeyGate
from dstmrouter.zmqctl.endpoint import bind, close_bound
from dstmrouter.zmqctl.messages import (
    CALLS_MAX,
    MESSAGE_MAX,
    Call,
    Failure,
    Message,
    Push,
    Reply,
    decode,
    encode,
)
from dstmrouter.zmqctl.peer import Peer
from dstmrouter.zmqctl.push_intake import PushIntake

if TYPE_CHECKING:
    from dstmrouter.zmqctl.keys import CurveServer
    from dstmrouter.zmqctl.update import Apply

# Messages waiting for one peer: the calls it made may all be answered in one moment, and libzmq
# counts messages that were read for up to half of this longer. A peer that only asks for snapshot
# parts and never reads can make us keep 144 of them, 340 MB.
SEND_QUEUE: Final = 2 * CALLS_MAX + 16

Handler: TypeAlias = Callable[[dict[str, Any]], Awaitable[dict[str, Any]]]
"""Takes the params of a call, returns its result; a DstmError becomes the error reply."""

M = TypeVar("M")
_log = structlog.get_logger(__name__)


class ControlServer:
    """Answers on one endpoint until `close`; make it inside the running event loop.

    `handlers` maps method names to coroutines. `on_push` takes the bindings that other server
    programs push; without it pushes are refused. Raises ConfigError for an endpoint that is not
    allowed or served already and SystemCallError when it cannot be bound.
    """

    def __init__(
        self,
        endpoint: str,
        *,
        curve: CurveServer | None,
        handlers: Mapping[str, Handler],
        on_push: Apply | None = None,
        ipc_mode: int = 0o600,
    ) -> None:
        self.endpoint = ""  # until bound
        self.counters: collections.Counter[str] = collections.Counter()
        self._handlers = handlers
        self._receivers: dict[type[Any], Callable[[Peer, Any], Awaitable[None]]] = {}
        self._calls: set[asyncio.Task[None]] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._context = zmq.asyncio.Context() if curve else zmq.asyncio.Context.instance()
        self._gate = KeyGate(self._context, curve.allowed) if curve else None
        self._socket = self._context.socket(zmq.ROUTER)
        self._socket.setsockopt(zmq.ROUTER_MANDATORY, 1)  # an answer that cannot leave is an error
        self._socket.setsockopt(zmq.SNDHWM, SEND_QUEUE)
        try:
            bind(self._socket, endpoint, curve=curve, ipc_mode=ipc_mode)
        except DstmError:
            self.close()
            raise
        self.endpoint = self._socket.getsockopt_string(zmq.LAST_ENDPOINT)  # with the port taken
        self._intake = PushIntake(on_push, self.send) if on_push else None
        if self._intake is not None:
            self.listen(Push, self._intake.offer)

    def listen(self, kind: type[M], receiver: Callable[[Peer, M], Awaitable[None]]) -> None:
        """Give messages of `kind` to `receiver`, which must not wait for anything but `send`."""
        self._receivers[kind] = receiver

    async def run(self) -> None:
        """Serve until cancelled or closed."""
        async with asyncio.TaskGroup() as group:
            self._tasks.add(group.create_task(self._receive_all()))
            if self._intake is not None:
                self._tasks.add(group.create_task(self._intake.run()))

    def close(self) -> None:
        """Stop serving, which ends `run`; calls at work are cancelled. May be called again."""
        for task in self._calls | self._tasks:
            task.cancel()
        close_bound(self._socket, self.endpoint)
        if self._gate is not None:
            self._gate.close()
            self._gate = None
            self._context.term()

    async def send(self, peer: Peer, message: Message) -> bool:
        """Hand `message` to ZeroMQ at once; False, and a count, when the peer is gone or slow."""
        return await self._send_octets(peer, encode(message))

    async def _send_octets(self, peer: Peer, octets: bytes) -> bool:
        try:
            await self._socket.send_multipart([*peer.envelope, octets], zmq.NOBLOCK, copy=False)
        except zmq.Again:
            self.counters["unsent-peer-slow"] += 1
        except zmq.ZMQError:  # EHOSTUNREACH: no such peer any more
            self.counters["unsent-peer-gone"] += 1
        else:
            return True
        return False

    async def _receive_all(self) -> None:
        while True:
            frames = await self._socket.recv_multipart(copy=False)
            self.counters["received"] += 1
            await self._receive(frames)
            await asyncio.sleep(0)  # recv does not yield while messages wait: others must run too

    async def _receive(self, frames: list[zmq.Frame]) -> None:
        peer = Peer(tuple(frame.bytes for frame in frames[:1]))
        try:
            peer = Peer.of(frames)
            message = decode(frames[-1].bytes)
        except DecodeError as error:
            self.counters["malformed"] += 1
            await self.send(peer, Failure(id=0, reason="malformed", text=str(error)))
            return
        if isinstance(message, Call):
            await self._start_call(peer, message)
        elif type(message) in self._receivers:
            await self._receivers[type(message)](peer, message)
        else:
            self.counters["unexpected"] += 1
            call_id = message.id if isinstance(message, Push) else 0
            text = f"{message.TYPE} messages are not taken here"
            await self.send(peer, _failure(call_id, "unexpected", text))

    async def _start_call(self, peer: Peer, call: Call) -> None:
        if len(self._calls) >= CALLS_MAX:
            self.counters["busy"] += 1
            await self.send(peer, _failure(call.id, "busy", "too many calls at work, try again"))
            return
        task = asyncio.create_task(self._answer_call(peer, call))
        self._calls.add(task)
        task.add_done_callback(self._calls.discard)

    async def _answer_call(self, peer: Peer, call: Call) -> None:
        octets = await self._call(call)
        if len(octets) > MESSAGE_MAX:
            text = f"the answer has {len(octets)} octets, the limit is {MESSAGE_MAX}: ask for less"
            octets = encode(_failure(call.id, "too-large", text))
        await self._send_octets(peer, octets)

    async def _call(self, call: Call) -> bytes:
        """Octets of the reply, or of the failure: one call must never end the process."""
        handler = self._handlers.get(call.method)
        if handler is None:
            self.counters["unknown-method"] += 1
            return encode(_failure(call.id, "unknown-method", f"no method {call.method!r} here"))
        try:
            return encode(Reply(id=call.id, result=await handler(call.params)))
        except LeaseError as error:
            return encode(_failure(call.id, error.reason, str(error)))
        except DstmError as error:
            return encode(_failure(call.id, "refused", str(error)))
        except Exception:  # noqa: BLE001 - params are a stranger's; the log has the traceback
            self.counters["failed"] += 1
            _log.exception("control call failed", method=call.method)
            return encode(_failure(call.id, "internal", f"{call.method} failed, see the log"))


def _failure(call_id: int, reason: str, text: str) -> Failure:
    return Failure(id=call_id, reason=reason, text=text[:2000])
