"""The DSTM program over a book, store and feed of a test, asked without sockets."""

from __future__ import annotations

import asyncio
import collections
import itertools
from ipaddress import IPv4Address, IPv6Address
from typing import TYPE_CHECKING, Any

from dstmrouter.daemon.lease_handles import LeaseHandles
from dstmrouter.daemon.lending import Lender
from dstmrouter.daemon.reply_cache import ReplyCache
from dstmrouter.daemon.rpc_dispatch import RpcDispatcher
from dstmrouter.daemon.rpc_leases import Caller, LeaseProcedures, Tunnel
from dstmrouter.protocols import dstm_rpc
from dstmrouter.protocols.cookies import Cookies
from dstmrouter.protocols.dstm_rpc import AllocateArgs, Procedure, ReferenceArgs, Stat
from dstmrouter.protocols.oncrpc import Accepted, Call, decode_reply, encode_call
from tests.daemon.test_server_ledger import Setting, settling
from tests.leases.lending import TEP6, client

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from dstmrouter.daemon.tally import Tally
    from dstmrouter.leases.book import LeaseBook
    from dstmrouter.protocols.oncrpc import Reply

TUNNEL = Tunnel(tep6=TEP6, tep4=IPv4Address("192.0.2.200"), mtu=1460)
HANDLES = LeaseHandles(bytes(32))


class Clock:
    """Follows the real clock, as the lender does; `ahead` makes time pass."""

    def __init__(self) -> None:
        self.ahead = 0.0

    def __call__(self) -> float:
        return asyncio.get_running_loop().time() + self.ahead


class Program:
    """A dispatcher, and the caller's side of it."""

    def __init__(self, setting: Setting, *required: str, at_work: int = 8) -> None:
        self.setting = setting
        self.clock = Clock()
        self.counts: collections.Counter[Tally] = collections.Counter()
        self.replies = ReplyCache(at_work=at_work, per_source=at_work)
        lender = Lender(
            setting.book, setting.ledger, setting.feed, required=required, ack_timeout_s=0.1
        )
        procedures = LeaseProcedures(
            setting.book,
            lender,
            tunnel=TUNNEL,
            handles=HANDLES,
            cookies=Cookies(bytes(32)),
            clock=self.clock,
        )
        self.dispatcher = RpcDispatcher(
            procedures,
            self.replies,
            program=dstm_rpc.PROGRAM,
            counts=self.counts,
            clock=self.clock,
        )
        self._xids = itertools.count(1)

    def call(self, procedure: int, arguments: bytes = b"", **changes: int) -> bytes:
        """The octets of a call with an xid of its own."""
        header: dict[str, Any] = {
            "xid": next(self._xids),
            "program": dstm_rpc.PROGRAM,
            "version": dstm_rpc.VERSION,
            "procedure": procedure,
        }
        return encode_call(Call(arguments=arguments, **(header | changes)))

    async def send(self, octets: bytes, caller: Caller) -> Reply | None:
        """The reply to `octets`, when it is there."""
        response = self.dispatcher.take(octets, caller)
        if isinstance(response, asyncio.Task):
            response = await response
        return None if response is None else decode_reply(response)

    async def ask(
        self, procedure: Procedure, args: AllocateArgs | ReferenceArgs, caller: Caller
    ) -> bytes:
        """The results of a call that succeeds."""
        reply = await self.send(self.call(procedure, args.encode()), caller)
        assert isinstance(reply, Accepted), reply
        return reply.results

    async def lease(
        self, procedure: Procedure, args: AllocateArgs | ReferenceArgs, caller: Caller
    ) -> dstm_rpc.LeaseResult:
        return dstm_rpc.decode_result(await self.ask(procedure, args, caller))

    async def granted(self, number: int, **wishes: Any) -> dstm_rpc.Lease:
        """A lease of client `number`, over TCP."""
        args = AllocateArgs(client6=client(number), **wishes)
        lease = await self.lease(Procedure.ALLOCATE, args, tcp(number))
        assert isinstance(lease, dstm_rpc.Lease), lease
        return lease

    async def release(self, args: ReferenceArgs, caller: Caller) -> Stat:
        return dstm_rpc.decode_stat(await self.ask(Procedure.RELEASE, args, caller))


def tcp(number: int) -> Caller:
    return Caller(client(number), 5000, proven=True)


def udp(number: int, port: int = 5000) -> Caller:
    return Caller(client(number), port, proven=False)


def reference(lease: dstm_rpc.Lease, **changes: Any) -> ReferenceArgs:
    fields: dict[str, Any] = {"lease_id": lease.lease_id, "client6": lease.client6}
    return ReferenceArgs(**(fields | changes))


def in_program(
    scenario: Callable[[Program], Coroutine[Any, Any, None]],
    *required: str,
    at_work: int = 8,
    book: LeaseBook | None = None,
) -> None:
    """Run `scenario` with a program over a settling ledger."""

    async def run(setting: Setting) -> None:
        program = Program(setting, *required, at_work=at_work)
        try:
            await scenario(program)
        finally:
            program.replies.close()

    settling(run, book=book)


LOOPBACK = IPv6Address("::1")
