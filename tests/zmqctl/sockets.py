"""Running servers and followers for these tests, over real ipc and TCP sockets."""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import threading
from typing import TYPE_CHECKING, Any, Protocol

import zmq
import zmq.asyncio

from dstmrouter.binding import OP_REMOVE, BindingColumns
from dstmrouter.zmqctl import ControlServer, CurveClient, CurveServer, FeedPublisher, KeyPair
from dstmrouter.zmqctl.columns import join_in_order
from tests.zmqctl.samples import puts

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator, Mapping

    from dstmrouter.zmqctl import Apply, Handler


class Runs(Protocol):
    """Anything with a `run` that goes on until cancelled."""

    async def run(self) -> None: ...


@contextlib.asynccontextmanager
async def running(*parts: Runs) -> AsyncIterator[None]:
    """Run `parts` meanwhile; what they raise is raised here."""
    tasks = [asyncio.create_task(part.run()) for part in parts]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        outcomes = await asyncio.gather(*tasks, return_exceptions=True)
    for outcome in outcomes:
        if isinstance(outcome, Exception):
            raise outcome


class Keys:
    """A server key and clients' keys; `allowed` holds those of the clients by name."""

    def __init__(self, *names: str) -> None:
        self.server = KeyPair.generate()
        self.clients = {name: KeyPair.generate() for name in names}

    def of_server(self) -> CurveServer:
        return CurveServer(self.server, {pair.public: name for name, pair in self.clients.items()})

    def of(self, name: str) -> CurveClient:
        return CurveClient(self.clients[name], self.server.public)

    def of_stranger(self) -> CurveClient:
        return CurveClient(KeyPair.generate(), self.server.public)


class FeedServer:
    """A lease server reduced to its feed: bindings in memory, one server run."""

    def __init__(
        self, feed: str, control: str, *, curve: CurveServer | None = None, heartbeat_s: float = 0.2
    ) -> None:
        self.bindings = puts(0, 0)
        self.control = ControlServer(control, curve=curve, handlers={})
        self.publisher = FeedPublisher(
            epoch=secrets.token_bytes(16),
            feed=feed,
            control=self.control,
            curve=curve,
            snapshot=lambda: (self.publisher.generation, self.bindings),
            heartbeat_s=heartbeat_s,
        )

    async def change(self, changes: BindingColumns) -> int:
        merged = join_in_order([self.bindings, changes])
        self.bindings = merged.take((merged.op != OP_REMOVE).nonzero()[0])
        return await self.publisher.publish(changes)

    async def run(self) -> None:
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self.control.run())
                tasks.create_task(self.publisher.run())
        finally:
            self.publisher.close()
            self.control.close()


@contextlib.contextmanager
def control_in_thread(
    endpoint: str,
    *,
    curve: CurveServer | None = None,
    handlers: Mapping[str, Handler] | None = None,
    on_push: Apply | None = None,
) -> Iterator[ControlServer]:
    """A control server with an event loop of its own, for blocking clients."""
    started = threading.Event()
    made: list[Any] = []

    async def serve() -> None:
        server = ControlServer(endpoint, curve=curve, handlers=handlers or {}, on_push=on_push)
        stop = asyncio.Event()
        made.extend([server, asyncio.get_running_loop(), stop])
        started.set()
        async with running(server):
            await stop.wait()
        server.close()

    thread = threading.Thread(target=lambda: asyncio.run(serve()))
    thread.start()
    try:
        assert started.wait(10)
        yield made[0]
    finally:
        made[1].call_soon_threadsafe(made[2].set)
        thread.join(20)
    assert not thread.is_alive()


def plain_socket(kind: int) -> zmq.Socket[bytes]:
    """A socket as any other program has it; waits 10 s for a message at most."""
    socket: zmq.Socket[bytes] = zmq.Context.instance().socket(kind)
    socket.setsockopt(zmq.IPV6, 1)
    socket.setsockopt(zmq.LINGER, 0)
    socket.setsockopt(zmq.RCVTIMEO, 10_000)
    socket.setsockopt(zmq.SNDTIMEO, 10_000)
    return socket


@contextlib.contextmanager
def raw_dealer(endpoint: str) -> Iterator[zmq.Socket[bytes]]:
    """A DEALER connected to `endpoint`."""
    with plain_socket(zmq.DEALER) as socket:
        socket.connect(endpoint)
        yield socket
