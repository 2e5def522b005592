"""ONC RPC version 2, RFC 5531: call and reply messages, whatever carries them.

`decode_call` tells three things apart: a call; a call that must be denied (`CallDeniedError`, with
the reply to send); and octets that are no call, which nobody can answer (any other DecodeError).
Arguments and results stay octets here: they belong to the program.
"""

from __future__ import annotations

import dataclasses
from enum import IntEnum
from typing import Final, TypeAlias

from dstmrouter.errors import DecodeError
from dstmrouter.protocols.rpc_auth import (
    AUTH_NONE,
    AUTH_SYS,
    NO_AUTH,
    AuthStat,
    AuthSys,
    OpaqueAuth,
    read_auth,
    write_auth,
)
from dstmrouter.protocols.xdr import Reader, Writer

RPC_VERSION: Final = 2


class MessageType(IntEnum):
    """Section 9."""

    CALL = 0
    REPLY = 1


class ReplyStat(IntEnum):
    """Section 9."""

    ACCEPTED = 0
    DENIED = 1


class RejectStat(IntEnum):
    """Why a call is denied, section 9."""

    RPC_MISMATCH = 0
    AUTH_ERROR = 1


class AcceptStat(IntEnum):
    """What became of an accepted call, section 9."""

    SUCCESS = 0
    PROG_UNAVAIL = 1
    PROG_MISMATCH = 2
    PROC_UNAVAIL = 3
    GARBAGE_ARGS = 4
    SYSTEM_ERR = 5


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """A procedure and its arguments, in XDR."""

    xid: int
    program: int
    version: int
    procedure: int
    arguments: bytes = b""
    credential: OpaqueAuth = NO_AUTH
    verifier: OpaqueAuth = NO_AUTH


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Accepted:
    """`results` (in XDR) go with SUCCESS, `versions` (lowest, highest) with PROG_MISMATCH."""

    xid: int
    stat: AcceptStat
    results: bytes = b""
    versions: tuple[int, int] | None = None
    verifier: OpaqueAuth = NO_AUTH

    def __post_init__(self) -> None:
        assert not self.results or self.stat is AcceptStat.SUCCESS
        assert (self.versions is not None) == (self.stat is AcceptStat.PROG_MISMATCH)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class RpcMismatch:
    """The call has another RPC version than from `low` to `high`."""

    xid: int
    low: int = RPC_VERSION
    high: int = RPC_VERSION


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class AuthRejected:
    """Credential or verifier were refused."""

    xid: int
    stat: AuthStat


Reply: TypeAlias = Accepted | RpcMismatch | AuthRejected


class CallDeniedError(DecodeError):
    """A call that RFC 5531 wants denied, with `reply`."""

    def __init__(self, text: str, reply: RpcMismatch | AuthRejected) -> None:
        super().__init__(text)
        self.reply = reply


def encode_call(call: Call) -> bytes:
    """The octets of a call."""
    writer = Writer()
    writer.uint32(call.xid)
    writer.enum(MessageType.CALL)
    for number in (RPC_VERSION, call.program, call.version, call.procedure):
        writer.uint32(number)
    write_auth(writer, call.credential)
    write_auth(writer, call.verifier)
    writer.rest(call.arguments)
    return writer.octets


def decode_call(octets: bytes) -> Call:
    """A call with a checked credential; DecodeError, or of these CallDeniedError, if it is none.

    AUTH_NONE and AUTH_SYS are taken. All others are refused with REJECTEDCRED, the probe for
    RPC-with-TLS (flavor 7, RFC 9289 section 4.1) too, by which its sender knows that there is none.
    """
    reader = Reader(octets)
    xid = reader.uint32()
    if reader.enum(MessageType) is not MessageType.CALL:
        raise DecodeError("a reply, where a call was expected")
    if (rpc_version := reader.uint32()) != RPC_VERSION:
        raise CallDeniedError(f"RPC version {rpc_version}", RpcMismatch(xid=xid))
    program, version, procedure = reader.uint32(), reader.uint32(), reader.uint32()
    credential = _checked_auth(reader, xid, AuthStat.BADCRED)
    verifier = _checked_auth(reader, xid, AuthStat.BADVERF)
    _check_flavors(xid, credential, verifier)
    return Call(
        xid=xid,
        program=program,
        version=version,
        procedure=procedure,
        arguments=reader.rest(),
        credential=credential,
        verifier=verifier,
    )


def _checked_auth(reader: Reader, xid: int, stat: AuthStat) -> OpaqueAuth:
    try:
        return read_auth(reader)
    except DecodeError as error:
        raise CallDeniedError(f"{stat.name}: {error}", AuthRejected(xid=xid, stat=stat)) from None


def _check_flavors(xid: int, credential: OpaqueAuth, verifier: OpaqueAuth) -> None:
    refused: AuthStat | None = None
    if credential.flavor == AUTH_SYS:
        try:
            AuthSys.decode(credential.body)
        except DecodeError:
            refused = AuthStat.BADCRED
    elif credential.flavor != AUTH_NONE:
        refused = AuthStat.REJECTEDCRED
    if refused is None and verifier.flavor != AUTH_NONE:  # with both flavors, appendix A
        refused = AuthStat.BADVERF
    if refused is not None:
        raise CallDeniedError(refused.name, AuthRejected(xid=xid, stat=refused))


def encode_reply(reply: Reply) -> bytes:
    """The octets of a reply."""
    writer = Writer()
    writer.uint32(reply.xid)
    writer.enum(MessageType.REPLY)
    if isinstance(reply, Accepted):
        writer.enum(ReplyStat.ACCEPTED)
        write_auth(writer, reply.verifier)
        writer.enum(reply.stat)
        for number in reply.versions or ():
            writer.uint32(number)
        writer.rest(reply.results)
        return writer.octets
    writer.enum(ReplyStat.DENIED)
    if isinstance(reply, RpcMismatch):
        writer.enum(RejectStat.RPC_MISMATCH)
        writer.uint32(reply.low)
        writer.uint32(reply.high)
    else:
        writer.enum(RejectStat.AUTH_ERROR)
        writer.enum(reply.stat)
    return writer.octets


def decode_reply(octets: bytes) -> Reply:
    """A reply; DecodeError if it is none."""
    reader = Reader(octets)
    xid = reader.uint32()
    if reader.enum(MessageType) is not MessageType.REPLY:
        raise DecodeError("a call, where a reply was expected")
    accepted = reader.enum(ReplyStat) is ReplyStat.ACCEPTED
    reply = _read_accepted(reader, xid) if accepted else _read_denied(reader, xid)
    reader.end()
    return reply


def _read_accepted(reader: Reader, xid: int) -> Accepted:
    verifier = read_auth(reader)
    stat = reader.enum(AcceptStat)
    versions = None
    if stat is AcceptStat.PROG_MISMATCH:
        versions = reader.uint32(), reader.uint32()
    results = reader.rest() if stat is AcceptStat.SUCCESS else b""
    return Accepted(xid=xid, stat=stat, results=results, versions=versions, verifier=verifier)


def _read_denied(reader: Reader, xid: int) -> RpcMismatch | AuthRejected:
    if reader.enum(RejectStat) is RejectStat.AUTH_ERROR:
        return AuthRejected(xid=xid, stat=reader.enum(AuthStat))
    return RpcMismatch(xid=xid, low=reader.uint32(), high=reader.uint32())
