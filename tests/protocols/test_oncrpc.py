from __future__ import annotations

import pytest
import xdrlib3
from hypothesis import given
from hypothesis import strategies as st

from dstmrouter.errors import DecodeError
from dstmrouter.protocols.oncrpc import (
    Accepted,
    AcceptStat,
    AuthRejected,
    Call,
    CallDeniedError,
    Reply,
    RpcMismatch,
    decode_call,
    decode_reply,
    encode_call,
    encode_reply,
)
from dstmrouter.protocols.rpc_auth import AuthStat, AuthSys, OpaqueAuth
from tests.protocols.decoding import assert_canonical, assert_whole
from tests.protocols.rpc_messages import calls, replies

PING = Call(xid=5, program=0x2000D573, version=1, procedure=0)
ANN = AuthSys(stamp=1, machine=b"host", uid=1000, gid=100)


def changed(at: int, word: int, call: Call = PING) -> bytes:
    """The call with another number in word `at`."""
    octets = bytearray(encode_call(call))
    octets[4 * at : 4 * at + 4] = word.to_bytes(4, "big")
    return bytes(octets)


def test_octets_of_a_call() -> None:
    packer = xdrlib3.Packer()
    for word in (5, 0, 2, 0x2000D573, 1, 0):
        packer.pack_uint(word)
    packer.pack_uint(1)
    packer.pack_opaque(ANN.encode().body)
    packer.pack_uint(0)
    packer.pack_opaque(b"")
    call = Call(xid=5, program=0x2000D573, version=1, procedure=0, credential=ANN.encode())
    assert encode_call(call) == packer.get_buffer()


@pytest.mark.parametrize(
    ("reply", "words"),
    [
        (Accepted(xid=5, stat=AcceptStat.SUCCESS, results=b"done"), "0 00 0 646f6e65"),
        (Accepted(xid=5, stat=AcceptStat.PROG_UNAVAIL), "0 00 1"),
        (Accepted(xid=5, stat=AcceptStat.PROG_MISMATCH, versions=(1, 3)), "0 00 2 1 3"),
        (Accepted(xid=5, stat=AcceptStat.PROC_UNAVAIL), "0 00 3"),
        (Accepted(xid=5, stat=AcceptStat.GARBAGE_ARGS), "0 00 4"),
        (Accepted(xid=5, stat=AcceptStat.SYSTEM_ERR), "0 00 5"),
        (RpcMismatch(xid=5), "1 0 2 2"),
        (AuthRejected(xid=5, stat=AuthStat.TOOWEAK), "1 1 5"),
    ],
)
def test_octets_of_replies(reply: Reply, words: str) -> None:
    """RFC 5531 section 9; in `words` a 00 is a verifier without a body."""
    spread = words.replace("00", "0 0").split()
    octets = bytes.fromhex("0000000500000001" + "".join(word.zfill(8) for word in spread))
    assert encode_reply(reply) == octets
    assert decode_reply(octets) == reply
    header_len = len(octets.removesuffix(b"done"))  # results may have any length
    for size in range(header_len):
        with pytest.raises(DecodeError):
            decode_reply(octets[:size])


@given(calls)
def test_calls_come_back(call: Call) -> None:
    assert decode_call(encode_call(call)) == call


@given(replies)
def test_replies_come_back(reply: Reply) -> None:
    assert decode_reply(encode_reply(reply)) == reply


def test_only_success_has_something_after_it() -> None:
    for reply in (
        Accepted(xid=1, stat=AcceptStat.PROC_UNAVAIL),
        Accepted(xid=1, stat=AcceptStat.PROG_MISMATCH, versions=(1, 1)),
        RpcMismatch(xid=1),
        AuthRejected(xid=1, stat=AuthStat.BADCRED),
    ):
        assert_whole(decode_reply, encode_reply(reply), reply)


def test_a_call_cut_short_is_no_call() -> None:
    octets = encode_call(PING)
    for size in range(len(octets)):
        with pytest.raises(DecodeError):
            decode_call(octets[:size])


@pytest.mark.parametrize(
    ("octets", "reply"),
    [
        (changed(2, 3), RpcMismatch(xid=5, low=2, high=2)),
        (changed(2, 0)[:12], RpcMismatch(xid=5)),
        (changed(6, 2), AuthRejected(xid=5, stat=AuthStat.REJECTEDCRED)),
        (changed(6, 7), AuthRejected(xid=5, stat=AuthStat.REJECTEDCRED)),  # the probe for TLS
        (changed(6, 1), AuthRejected(xid=5, stat=AuthStat.BADCRED)),  # AUTH_SYS without a body
        (changed(7, 401), AuthRejected(xid=5, stat=AuthStat.BADCRED)),
        (changed(8, 1), AuthRejected(xid=5, stat=AuthStat.BADVERF)),
        (changed(9, 401), AuthRejected(xid=5, stat=AuthStat.BADVERF)),
    ],
)
def test_denied_calls_have_their_reply(octets: bytes, reply: Reply) -> None:
    with pytest.raises(CallDeniedError) as denied:
        decode_call(octets)
    assert denied.value.reply == reply


@pytest.mark.parametrize("body", [b"", ANN.encode().body[:-4], ANN.encode().body + bytes(4)])
def test_a_wrong_auth_sys_body_is_bad(body: bytes) -> None:
    credential = OpaqueAuth(flavor=1, body=body)
    with pytest.raises(CallDeniedError, match="BADCRED"):
        decode_call(
            encode_call(Call(xid=5, program=1, version=1, procedure=0, credential=credential))
        )


def test_call_and_reply_are_not_mistaken() -> None:
    with pytest.raises(DecodeError, match="a reply, where a call"):
        decode_call(encode_reply(RpcMismatch(xid=1)))
    with pytest.raises(DecodeError, match="a call, where a reply"):
        decode_reply(encode_call(PING))
    with pytest.raises(DecodeError, match="2 is no MessageType"):
        decode_call(changed(1, 2))


@given(st.binary(max_size=120))
def test_any_octets(octets: bytes) -> None:
    assert_canonical(decode_call, encode_call, octets)
    assert_canonical(decode_reply, encode_reply, octets)


@given(calls, st.data())
def test_calls_with_one_octet_changed(call: Call, data: st.DataObject) -> None:
    octets = bytearray(encode_call(call))
    octets[data.draw(st.integers(0, len(octets) - 1))] = data.draw(st.integers(0, 255))
    assert_canonical(decode_call, encode_call, bytes(octets))


def test_replies_that_cannot_be() -> None:
    with pytest.raises(AssertionError):
        Accepted(xid=1, stat=AcceptStat.PROG_MISMATCH)
    with pytest.raises(AssertionError):
        Accepted(xid=1, stat=AcceptStat.SYSTEM_ERR, results=b"text")
