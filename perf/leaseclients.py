"""Many clients in one process, each with an IPv6 address and a socket of its own.

    python -m perf.leaseclients '{"way": "tsp-tcp", "first": 0, "count": 1000, ...}'

Started by `perf.leases`. Writes an empty line when it is ready; then reads one word a line from
standard input: `obtain`, `renew` or `release`. All clients do so, `at_once` of them at a time, and
one line of JSON says how it went.

They ask what `dstm-client` asks, but with as little work as can be: it is the server that is to be
measured. Whatever is no success ends the program.
"""

from __future__ import annotations

import asyncio
import dataclasses
import functools
import json
import resource
import sys
import time
from ipaddress import IPv4Address, IPv6Address
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Protocol

from dstmrouter.daemon.tsp_tls import client_context
from dstmrouter.protocols.dstm_rpc import (
    PROGRAM,
    VERSION,
    AllocateArgs,
    CookieNeeded,
    Lease,
    Procedure,
    ReferenceArgs,
    Stat,
    decode_result,
    decode_stat,
)
from dstmrouter.protocols.oncrpc import Accepted, Call, decode_reply, encode_call
from dstmrouter.protocols.tsp_frame import frame
from dstmrouter.protocols.tsp_greeting import VERSIONS, version_line
from dstmrouter.protocols.tsp_xml import Action, End, Tunnel, decode, encode
from dstmrouter.zmqctl.client import AsyncControlClient
from perf.leaseways import Datagrams, Numbered, Opened, Records, Stream, Way

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

WAYS: Final = ("tsp-tcp", "tsp-udp", "tsp-tls", "rpc-tcp", "rpc-udp", "control")
"""The protocols of a lease server."""

CLIENTS: Final = int(IPv6Address("2001:db8:1::1"))
SITE: Final = 1 << 64
CALL_S: Final = 30.0
TSP_PORT: Final = 3653
TSP_TLS_PORT: Final = 3655
RPC_PORT: Final = 3654
GREETING: Final = {version_line(VERSIONS[0]): b"CAPABILITY", b"AUTHENTICATE ANONYMOUS\r\n": b"200"}
"""What a client says first, and how the answers begin."""

ACCEPT: Final = frame(encode(Tunnel(action=Action.ACCEPT, type=None)))


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Orders:
    """What a process of clients is started with."""

    way: str
    first: int  # number of its first client
    count: int
    at_once: int
    authority: str  # file, for TLS
    control: str  # endpoint


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Round:
    """All clients have done one thing: when it was, in monotonic seconds, and what each took."""

    began: float
    ended: float
    took_s: list[float]


class Client(Protocol):
    """One client, which does these three in turn."""

    async def obtain(self) -> None:
        """Get a lease."""

    async def renew(self) -> None:
        """Extend it."""

    async def release(self) -> None:
        """Give it back."""


class TspClient:
    """Keeps its connection from the first question to the last."""

    def __init__(self, client6: IPv6Address, opened: Opened) -> None:
        self._client6 = client6
        self._opened = opened
        self._way: Way | None = None
        self._client4: IPv4Address | None = None

    async def obtain(self) -> None:
        """Connect, say that we are nobody, and take what is offered."""
        way = self._way = await self._opened(self._client6)
        for message, expected in GREETING.items():
            answer = await way.ask(message)
            assert answer.startswith(expected), answer
        self._client4 = await self._create()

    async def renew(self) -> None:
        """Ask for the same address again."""
        client4 = await self._create()
        assert client4 == self._client4, f"{client4} for {self._client4}"

    async def release(self) -> None:
        """Delete, and hang up."""
        way = self._way
        assert way is not None
        wish = Tunnel(action=Action.DELETE, client=End(ipv6=self._client6))
        assert b"200" in await way.ask(frame(encode(wish)))
        way.close()

    async def _create(self) -> IPv4Address:
        way = self._way
        assert way is not None
        wish = Tunnel(action=Action.CREATE, client=End(ipv4=self._client4, ipv6=self._client6))
        answer = await way.ask(frame(encode(wish)))
        _, status, body = answer.split(b"\r\n", 2)
        assert status.startswith(b"200"), answer
        await way.tell(ACCEPT)
        client = decode(body).client
        assert client is not None
        assert client.ipv4 is not None
        return client.ipv4


class RpcClient:
    """Connects for each question, as `dstm-client` does: they are minutes apart."""

    def __init__(self, client6: IPv6Address, opened: Opened) -> None:
        self._client6 = client6
        self._opened = opened
        self._xid = 0
        self._lease: Lease | None = None

    async def obtain(self) -> None:
        """ALLOCATE, over UDP a second time with the cookie."""
        args = AllocateArgs(client6=self._client6)
        way = await self._opened(self._client6)
        result = decode_result(await self._call(way, Procedure.ALLOCATE, args.encode()))
        if isinstance(result, CookieNeeded):
            args = dataclasses.replace(args, cookie=result.cookie)
            result = decode_result(await self._call(way, Procedure.ALLOCATE, args.encode()))
        way.close()
        assert isinstance(result, Lease), result
        self._lease = result

    async def renew(self) -> None:
        """RENEW."""
        result = decode_result(await self._about_the_lease(Procedure.RENEW))
        assert isinstance(result, Lease), result

    async def release(self) -> None:
        """RELEASE."""
        stat = decode_stat(await self._about_the_lease(Procedure.RELEASE))
        assert stat is Stat.OK, stat

    async def _about_the_lease(self, procedure: Procedure) -> bytes:
        assert self._lease is not None
        args = ReferenceArgs(lease_id=self._lease.lease_id, client6=self._client6)
        way = await self._opened(self._client6)
        results = await self._call(way, procedure, args.encode())
        way.close()
        return results

    async def _call(self, way: Way, procedure: Procedure, arguments: bytes) -> bytes:
        self._xid += 1
        call = Call(
            xid=self._xid,
            program=PROGRAM,
            version=VERSION,
            procedure=procedure,
            arguments=arguments,
        )
        reply = decode_reply(await way.ask(encode_call(call)))
        assert isinstance(reply, Accepted), reply
        return reply.results


class ControlClient:
    """An operator's script; all of a process share its connection."""

    def __init__(self, client6: IPv6Address, control: AsyncControlClient) -> None:
        self._client6 = str(client6)
        self._control = control
        self._client4 = ""

    async def obtain(self) -> None:
        """Have an address lent."""
        self._client4 = (await self._call("lease.grant"))["ipv4"]

    async def renew(self) -> None:
        """Have it lent for longer."""
        await self._call("lease.renew", ipv4=self._client4)

    async def release(self) -> None:
        """End it."""
        await self._call("lease.release", ipv4=self._client4)

    async def _call(self, method: str, **params: str) -> dict[str, Any]:
        return await self._control.call(method, CALL_S, client6=self._client6, **params)


def client_maker(orders: Orders) -> Callable[[IPv6Address], Client]:
    """Makes a client with an address; made inside the event loop."""
    if orders.way == "control":
        control = AsyncControlClient(orders.control)
        return lambda client6: ControlClient(client6, control)
    context = client_context(ca=Path(orders.authority)) if orders.way == "tsp-tls" else None
    ways: dict[str, Opened] = {
        "tsp-tcp": functools.partial(Stream.open, TSP_PORT),
        "tsp-tls": functools.partial(Stream.open, TSP_TLS_PORT, tls=context),
        "tsp-udp": functools.partial(Numbered.open, TSP_PORT),
        "rpc-tcp": functools.partial(Records.open, RPC_PORT),
        "rpc-udp": functools.partial(Datagrams.open, RPC_PORT),
    }
    made: type[TspClient | RpcClient] = TspClient if orders.way.startswith("tsp") else RpcClient
    return lambda client6: made(client6, ways[orders.way])


class Crowd:
    """The clients of this process: each is in a /64 of its own, as customers are."""

    def __init__(self, orders: Orders) -> None:
        make = client_maker(orders)
        numbers = range(orders.first, orders.first + orders.count)
        self._clients = [make(IPv6Address(CLIENTS + number * SITE)) for number in numbers]
        self._turn = asyncio.Semaphore(orders.at_once)

    async def all(self, what: str) -> Round:
        """Let all clients do `what`."""
        began = time.monotonic()
        async with asyncio.TaskGroup() as tasks:
            ones = [tasks.create_task(self._timed(getattr(one, what)())) for one in self._clients]
        return Round(began=began, ended=time.monotonic(), took_s=[one.result() for one in ones])

    async def _timed(self, work: Coroutine[Any, Any, None]) -> float:
        async with self._turn:
            began = time.monotonic()
            await work
            return time.monotonic() - began


async def run(orders: Orders) -> None:
    """Do as the lines of standard input say, until they end."""
    crowd = Crowd(orders)
    print(flush=True)
    while line := await asyncio.to_thread(sys.stdin.readline):
        done = await crowd.all(line.strip())
        print(json.dumps(dataclasses.asdict(done)), flush=True)


def main() -> None:
    """Take orders from the command line."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    asyncio.run(run(Orders(**json.loads(sys.argv[1]))))


if __name__ == "__main__":
    main()
