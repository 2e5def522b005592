"""Our codec against the interface file, which xdrlib3 encodes by."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dstmrouter.errors import DecodeError
from dstmrouter.protocols import dstm_rpc
from dstmrouter.protocols.dstm_rpc import (
    AllocateArgs,
    CookieNeeded,
    Lease,
    LeaseResult,
    LeaseState,
    Procedure,
    ReferenceArgs,
    Refused,
    RetryLater,
    Stat,
    decode_nothing,
    decode_result,
    decode_stat,
    encode_result,
    encode_stat,
    stat_of,
)
from dstmrouter.protocols.granted import GrantedLease, PortSet
from dstmrouter.protocols.oncrpc import Call, encode_call
from dstmrouter.protocols.record_marking import mark
from tests.protocols.decoding import assert_canonical, assert_whole
from tests.protocols.interface_file import FILE, Interface, plain
from tests.protocols.rpc_messages import allocate_args, leases, reference_args, results

if TYPE_CHECKING:
    from enum import IntEnum

INTERFACE = Interface(FILE.read_text(encoding="utf-8"))
LEASE = Lease(
    lease_id=0x0102030405060708,
    client6=IPv6Address("2001:db8:c18:ffff::1"),
    tep6=IPv6Address("2001:db8:f::1"),
    tep4=IPv4Address("192.0.2.1"),
    client4=IPv4Address("203.0.113.9"),
    lifetime=900,
    t1=450,
    t2=787,
    mtu=1460,
    state=LeaseState.ACTIVE,
)
ALLOCATE = AllocateArgs(client6=LEASE.client6, client_id=b"\0\2\0\0", want_lifetime=900)
REFERENCE = ReferenceArgs(lease_id=7, client6=LEASE.client6, client_id=b"abc", want_lifetime=60)


def names(kind: type[IntEnum], prefix: str) -> dict[str, int]:
    return {f"{prefix}{member.name}": member.value for member in kind}


def test_numbers_are_those_of_the_interface_file() -> None:
    assert INTERFACE.enums == {
        "dstm_stat": names(Stat, "DSTM_"),
        "dstm_state": names(LeaseState, "DSTM_S_"),
    }
    numbers = {name: number for name, (number, _, _) in INTERFACE.procedures.items()}
    assert numbers == names(Procedure, "DSTM_")
    assert INTERFACE.program == dstm_rpc.PROGRAM
    assert INTERFACE.version == dstm_rpc.VERSION
    assert INTERFACE.constants == {
        "DSTM_ID_MAX": dstm_rpc.ID_MAX,
        "DSTM_TEXT_MAX": dstm_rpc.TEXT_MAX,
        "DSTM_NONCE_MAX": dstm_rpc.NONCE_MAX,
    }


def test_procedures_take_and_give_what_the_file_says() -> None:
    assert {name: types for name, (_, *types) in INTERFACE.procedures.items()} == {
        "DSTM_NULL": ["void", "void"],
        "DSTM_ALLOCATE": ["dstm_alloc_args", "dstm_lease_res"],
        "DSTM_RENEW": ["dstm_ref_args", "dstm_lease_res"],
        "DSTM_RELEASE": ["dstm_ref_args", "dstm_stat"],
        "DSTM_QUERY": ["dstm_ref_args", "dstm_lease_res"],
    }


@given(allocate_args)
def test_arguments_of_allocate(args: AllocateArgs) -> None:
    octets = INTERFACE.encode("dstm_alloc_args", plain(args))
    assert args.encode() == octets
    assert AllocateArgs.decode(octets) == args


@given(reference_args)
def test_arguments_of_the_others(args: ReferenceArgs) -> None:
    octets = INTERFACE.encode("dstm_ref_args", plain(args))
    assert args.encode() == octets
    assert ReferenceArgs.decode(octets) == args


def content(result: LeaseResult) -> Any:
    """The arm of the union."""
    if isinstance(result, Lease):
        return plain(result)
    if isinstance(result, CookieNeeded):
        return result.cookie
    return result.retry_after if isinstance(result, RetryLater) else result.text


@given(results)
def test_results(result: LeaseResult) -> None:
    octets = INTERFACE.encode("dstm_lease_res", (stat_of(result).value, content(result)))
    assert encode_result(result) == octets
    assert decode_result(octets) == result


@pytest.mark.parametrize("stat", Stat)
def test_result_of_release(stat: Stat) -> None:
    assert encode_stat(stat) == INTERFACE.encode("dstm_stat", stat.value)
    assert_whole(decode_stat, encode_stat(stat), stat)


def test_nothing_less_and_nothing_more() -> None:
    assert_whole(AllocateArgs.decode, ALLOCATE.encode(), ALLOCATE)
    assert_whole(ReferenceArgs.decode, REFERENCE.encode(), REFERENCE)
    for result in (LEASE, CookieNeeded(cookie=b"12345"), Refused(stat=Stat.EPERM, text="no")):
        assert_whole(decode_result, encode_result(result), result)
    decode_nothing(b"")
    with pytest.raises(DecodeError, match="1 octets too many"):
        decode_nothing(b"\0")


@given(st.binary(max_size=160))
def test_any_octets(octets: bytes) -> None:
    assert_canonical(AllocateArgs.decode, AllocateArgs.encode, octets)
    assert_canonical(ReferenceArgs.decode, ReferenceArgs.encode, octets)
    assert_canonical(decode_result, encode_result, octets)
    assert_canonical(decode_stat, encode_stat, octets)


def test_a_whole_call_on_tcp() -> None:
    """80 octets after the mark."""
    args = AllocateArgs(client6=LEASE.client6, client_id=b"\0\2\0\0", want_lifetime=900, cookie=b"")
    call = Call(xid=1, program=0x2000D573, version=1, procedure=1, arguments=args.encode())
    assert mark(encode_call(call)) == bytes.fromhex(
        "80000050 00000001 00000000 00000002 2000d573 00000001 00000001"
        "00000000 00000000 00000000 00000000 20010db80c18ffff0000000000000001"
        "00000004 00020000 00000000 00000384 00000000 00000000"
    )


def test_a_long_text_is_cut_between_characters() -> None:
    found = decode_result(encode_result(Refused(stat=Stat.EPERM, text="x" + "ä" * 300)))
    assert found == Refused(stat=Stat.EPERM, text="x" + "ä" * 127)


@given(leases)
def test_what_the_client_is_told(lease: Lease) -> None:
    granted = lease.granted()
    assert (granted.client4, granted.client6) == (lease.client4, lease.client6)
    assert (granted.tep4, granted.tep6) == (lease.tep4, lease.tep6)
    assert (granted.lifetime_s, granted.lease_id) == (lease.lifetime, lease.lease_id)
    assert granted.port_set == (lease.ports if lease.ports.psid_len else None)


def test_a_lease_of_a_whole_address() -> None:
    assert LEASE.granted() == GrantedLease(
        client4=LEASE.client4,
        client6=LEASE.client6,
        tep4=LEASE.tep4,
        tep6=LEASE.tep6,
        lifetime_s=900,
        lease_id=LEASE.lease_id,
        mtu=1460,
    )
    assert LEASE.ports == PortSet(psid_offset=0, psid_len=0, psid=0)
