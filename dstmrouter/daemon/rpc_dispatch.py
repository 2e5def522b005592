"""From the octets of a call to those of its reply: RFC 5531's rules, one after the other.

A reply that needs no waiting is returned as octets. Otherwise it is a task, which belongs to the
duplicate request cache: a caller who goes away does not stop what it began.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeAlias

import structlog

from dstmrouter.daemon.reply_cache import CallKey, ReplyCache
from dstmrouter.daemon.rpc_leases import RETRY_AFTER_S, Answer, Caller, LeaseProcedures, Outcome
from dstmrouter.daemon.rpc_tally import RpcTally
from dstmrouter.errors import DecodeError
from dstmrouter.protocols.dstm_rpc import (
    VERSION,
    AllocateArgs,
    Lease,
    Procedure,
    ReferenceArgs,
    RetryLater,
    Stat,
    decode_nothing,
    encode_result,
    encode_stat,
    stat_of,
)
from dstmrouter.protocols.oncrpc import (
    Accepted,
    AcceptStat,
    Call,
    CallDeniedError,
    decode_call,
    encode_reply,
)

if TYPE_CHECKING:
    import asyncio
    import collections
    from collections.abc import Callable, Coroutine, Mapping

    from dstmrouter.daemon.tally import Tally

log = structlog.get_logger(__name__)

Response: TypeAlias = "bytes | asyncio.Task[bytes] | None"
"""A reply; one that is being worked out; None: none will come."""

STAT_TALLY: Final = {
    Stat.EBUSY: RpcTally.RETRY,
    Stat.EINPROGRESS: RpcTally.RETRY,
    Stat.ECOOKIE: RpcTally.COOKIE,
}


class Operation(NamedTuple):
    """A procedure: how to read its arguments, and what to do with them."""

    decode: Callable[[bytes], Any]
    act: Callable[[Any, Caller], Outcome]


class RpcDispatcher:
    """Answers calls of `program`, each from one place: `counts` says what became of them."""

    def __init__(
        self,
        procedures: LeaseProcedures,
        replies: ReplyCache,
        *,
        program: int,
        counts: collections.Counter[Tally],
        clock: Callable[[], float],
    ) -> None:
        self._program = program
        self._replies = replies
        self._counts = counts
        self._clock = clock
        self._operations: Mapping[int, Operation] = {
            Procedure.ALLOCATE: Operation(AllocateArgs.decode, procedures.allocate),
            Procedure.RENEW: Operation(ReferenceArgs.decode, procedures.renew),
            Procedure.RELEASE: Operation(ReferenceArgs.decode, procedures.release),
            Procedure.QUERY: Operation(ReferenceArgs.decode, procedures.query),
        }

    def take(self, octets: bytes, caller: Caller) -> Response:
        """Take a message of `caller`."""
        try:
            call = decode_call(octets)
        except CallDeniedError as error:
            self._counts[RpcTally.DENIED] += 1
            return encode_reply(error.reply)
        except DecodeError:
            self._counts[RpcTally.NO_CALL] += 1
            return None
        if (failure := self._unavailable(call)) is not None:
            return failure
        if call.procedure == Procedure.NULL:
            return self._pong(call)
        key = CallKey.of(caller.address, call.xid, octets)
        known = self._replies.find(key, self._clock())
        return self._again(known, caller) if known else self._start(call, caller, key)

    def _unavailable(self, call: Call) -> bytes | None:
        """The failure of a call for something that we do not have."""
        if call.program != self._program:
            return self._failure(call, AcceptStat.PROG_UNAVAIL)
        if call.version != VERSION:
            self._counts[RpcTally.PROG_MISMATCH] += 1
            stat, versions = AcceptStat.PROG_MISMATCH, (VERSION, VERSION)
            return encode_reply(Accepted(xid=call.xid, stat=stat, versions=versions))
        if call.procedure != Procedure.NULL and call.procedure not in self._operations:
            return self._failure(call, AcceptStat.PROC_UNAVAIL)
        return None

    def _failure(self, call: Call, stat: AcceptStat) -> bytes:
        self._counts[RpcTally[stat.name]] += 1
        return encode_reply(Accepted(xid=call.xid, stat=stat))

    def _pong(self, call: Call) -> bytes:
        try:
            decode_nothing(call.arguments)
        except DecodeError:
            return self._failure(call, AcceptStat.GARBAGE_ARGS)
        self._counts[RpcTally.NULL] += 1
        return encode_reply(Accepted(xid=call.xid, stat=AcceptStat.SUCCESS))

    def _again(self, known: asyncio.Task[bytes], caller: Caller) -> Response:
        """The reply to a copy of a call; over UDP the first one's reply is on its way already."""
        if not known.done() and not caller.proven:
            self._counts[RpcTally.DUPLICATE_DROPPED] += 1
            return None
        self._counts[RpcTally.DUPLICATE] += 1
        return known.result() if known.done() else known

    def _start(self, call: Call, caller: Caller, key: CallKey) -> Response:
        operation = self._operations[call.procedure]
        try:
            args = operation.decode(call.arguments)
        except DecodeError:
            return self._failure(call, AcceptStat.GARBAGE_ARGS)
        outcome = operation.act(args, caller)
        if not callable(outcome):
            return self._reply(call, outcome)
        if self._replies.is_full(caller.address):
            self._counts[RpcTally.BUSY] += 1
            return self._reply(call, _busy(call))
        return self._replies.begin(key, self._work(call, outcome()), self._clock())

    async def _work(self, call: Call, outcome: Coroutine[Any, Any, Answer]) -> bytes:
        try:
            return self._reply(call, await outcome)
        except Exception:
            log.exception("RPC call failed", procedure=call.procedure)
            return self._failure(call, AcceptStat.SYSTEM_ERR)

    def _reply(self, call: Call, answer: Answer) -> bytes:
        if isinstance(answer, Stat):
            stat, results = answer, encode_stat(answer)
        else:
            stat, results = stat_of(answer), encode_result(answer)
        done = RpcTally.GRANTED if isinstance(answer, Lease) else RpcTally.RELEASED
        tally = done if stat is Stat.OK else STAT_TALLY.get(stat, RpcTally.REFUSED)
        self._counts[tally] += 1
        return encode_reply(Accepted(xid=call.xid, stat=AcceptStat.SUCCESS, results=results))


def _busy(call: Call) -> Answer:
    if call.procedure == Procedure.RELEASE:
        return Stat.EBUSY
    return RetryLater(stat=Stat.EBUSY, retry_after=RETRY_AFTER_S)
