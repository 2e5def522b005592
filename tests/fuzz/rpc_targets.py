"""What RPC reads of strangers. Each check takes any octets and raises nothing; see `_canonical`."""

from __future__ import annotations

import collections
import contextlib
from ipaddress import IPv4Address
from typing import TYPE_CHECKING, Final, TypeVar

from dstmrouter.daemon.lease_handles import LeaseHandles
from dstmrouter.daemon.reply_cache import ReplyCache
from dstmrouter.daemon.rpc_dispatch import RpcDispatcher
from dstmrouter.daemon.rpc_leases import Caller, LeaseProcedures, Tunnel
from dstmrouter.errors import DecodeError
from dstmrouter.protocols import dstm_rpc, oncrpc, rpcbind
from dstmrouter.protocols.cookies import Cookies
from dstmrouter.protocols.dstm_rpc import AllocateArgs, Lease, LeaseState, ReferenceArgs, Stat
from dstmrouter.protocols.oncrpc import Accepted, AcceptStat, Call
from dstmrouter.protocols.record_marking import RecordAssembler, mark
from dstmrouter.protocols.rpc_auth import AuthStat, AuthSys
from dstmrouter.protocols.xdr import Reader, Writer
from tests.fuzz.target import Target
from tests.leases.lending import TEP6, book_of, client, wish

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")

RECORD_LIMIT: Final = 512
CLIENT6: Final = client(1)
LEASE: Final = Lease(
    lease_id=7,
    client6=CLIENT6,
    tep6=TEP6,
    tep4=IPv4Address("192.0.2.200"),
    client4=IPv4Address("192.0.2.0"),
    lifetime=900,
    t1=450,
    t2=787,
    mtu=1460,
    state=LeaseState.ACTIVE,
)
ALLOCATE: Final = AllocateArgs(client6=CLIENT6, client_id=b"abcde", cookie=bytes(16)).encode()
REFERENCE: Final = ReferenceArgs(lease_id=7, client6=CLIENT6, client_id=b"abcde").encode()
RESULTS: Final = [
    dstm_rpc.encode_result(result)
    for result in (
        LEASE,
        dstm_rpc.CookieNeeded(cookie=bytes(16)),
        dstm_rpc.RetryLater(stat=Stat.EBUSY, retry_after=5),
        dstm_rpc.Refused(stat=Stat.EPERM, text="no"),
    )
]
ANN: Final = AuthSys(stamp=1, machine=b"host", uid=0, gid=0, gids=(1, 2))
CALLS: Final = [
    oncrpc.encode_call(
        Call(
            xid=1,
            program=dstm_rpc.PROGRAM,
            version=1,
            procedure=procedure,
            arguments=arguments,
            credential=ANN.encode(),
        )
    )
    for procedure, arguments in enumerate((b"", ALLOCATE, REFERENCE, REFERENCE, REFERENCE))
]
REPLIES: Final = [
    oncrpc.encode_reply(reply)
    for reply in (
        Accepted(xid=1, stat=AcceptStat.SUCCESS, results=RESULTS[0]),
        Accepted(xid=1, stat=AcceptStat.PROG_MISMATCH, versions=(1, 1)),
        oncrpc.RpcMismatch(xid=1),
        oncrpc.AuthRejected(xid=1, stat=AuthStat.TOOWEAK),
    )
]
BINDING: Final = rpcbind.Binding(
    program=dstm_rpc.PROGRAM, version=1, netid="tcp6", address="2001:db8::1.14.70", owner="root"
)


def _canonical(
    decode: Callable[[bytes], T], encode: Callable[[T], bytes]
) -> Callable[[bytes], None]:
    """Octets are a message, of which they are the only form, or a DecodeError; nothing else."""

    def check(octets: bytes) -> None:
        with contextlib.suppress(DecodeError):
            assert encode(decode(octets)) == octets

    return check


def _check_xdr(octets: bytes) -> None:
    """Values in an order that the first octet chooses."""

    def decode(octets: bytes) -> bytes:
        reader, writer = Reader(octets[1:]), Writer()
        writer.array(reader.array(8, reader.uint64), 8, writer.uint64)
        writer.text(reader.text(64), 64)
        if octets[:1] > b"\x40":
            writer.boolean(reader.boolean())
        if octets[:1] > b"\x80":
            writer.enum(reader.enum(Stat))
        writer.opaque(reader.opaque(64), 64)
        reader.end()
        return octets[:1] + writer.octets

    _canonical(decode, bytes)(octets)


def _check_record_marking(octets: bytes) -> None:
    """The same records come out of a stream whole and in pieces, and none is over the limit."""
    assert _records(octets, [len(octets)]) == _records(octets, [1, 3, 7, len(octets)])


def _records(stream: bytes, sizes: list[int]) -> list[bytes]:
    assembler = RecordAssembler(RECORD_LIMIT)
    found: list[bytes] = []
    at = 0
    with contextlib.suppress(DecodeError):
        for size in sizes:
            for record in assembler.receive(stream[at : at + size]):
                found.append(record)  # noqa: PERF402 - keeps what came before an error
            at += size
    assert all(len(record) <= RECORD_LIMIT for record in found)
    return found


def _check_address(octets: bytes) -> None:
    with contextlib.suppress(DecodeError):
        address, port = rpcbind.parse_universal(octets.decode("latin-1"))
        again = rpcbind.parse_universal(rpcbind.universal(address, port))
        assert again == (address, port)


class _Server:
    """A server without a lender: what it must answer to datagrams before it trusts anybody."""

    def __init__(self) -> None:
        book = book_of(10)
        lease = book.grant(wish(1), 1000.0)
        procedures = LeaseProcedures(
            book,
            None,  # type: ignore[arg-type]
            tunnel=Tunnel(tep6=TEP6, tep4=LEASE.tep4, mtu=1460),
            handles=LeaseHandles(bytes(32)),
            cookies=Cookies(bytes(32)),
            clock=lambda: 1000.0,
        )
        self._dispatcher = RpcDispatcher(
            procedures,
            ReplyCache(at_work=0, per_source=0),  # nothing is ever begun
            program=dstm_rpc.PROGRAM,
            counts=collections.Counter(),
            clock=lambda: 1000.0,
        )
        assert lease.client6 == CLIENT6

    def check(self, octets: bytes) -> None:
        """A reply that is one, and hardly longer than the call: nobody is worth spoofing."""
        response = self._dispatcher.take(octets, Caller(CLIENT6, 5000, proven=False))
        if response is not None:
            assert isinstance(response, bytes)
            oncrpc.decode_reply(response)
            assert len(response) <= len(octets) + 12  # RPC_MISMATCH to a call cut after its version


TARGETS: Final = [
    Target("xdr", [b"\xff" + bytes.fromhex("00000001") + bytes(8) + bytes(16)], _check_xdr),
    Target("record-marking", [mark(CALLS[1]), mark(b"a") * 3], _check_record_marking),
    Target("auth-sys", [ANN.encode().body], _canonical(AuthSys.decode, lambda a: a.encode().body)),
    Target("call", CALLS, _canonical(oncrpc.decode_call, oncrpc.encode_call)),
    Target("reply", REPLIES, _canonical(oncrpc.decode_reply, oncrpc.encode_reply)),
    Target("allocate-args", [ALLOCATE], _canonical(AllocateArgs.decode, AllocateArgs.encode)),
    Target("reference-args", [REFERENCE], _canonical(ReferenceArgs.decode, ReferenceArgs.encode)),
    Target("result", RESULTS, _canonical(dstm_rpc.decode_result, dstm_rpc.encode_result)),
    Target(
        "rpcbind", [BINDING.encode()], _canonical(rpcbind.Binding.decode, rpcbind.Binding.encode)
    ),
    Target("universal-address", [b"2001:db8::1.14.70", b"::.14.70"], _check_address),
    Target("dispatch", CALLS, _Server().check),
]
