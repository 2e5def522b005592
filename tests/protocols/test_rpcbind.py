from __future__ import annotations

from ipaddress import IPv6Address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dstmrouter.errors import DecodeError
from dstmrouter.protocols.rpcbind import (
    Binding,
    decode_address,
    decode_done,
    parse_universal,
    universal,
)
from dstmrouter.protocols.xdr import Writer
from tests.protocols.decoding import assert_canonical, assert_whole
from tests.protocols.rpc_messages import address6, bindings

ADDRESS = IPv6Address("2001:db8::1")
SET = Binding(
    program=0x2000D573, version=1, netid="tcp6", address="2001:db8::1.14.70", owner="root"
)


def text(value: str) -> bytes:
    writer = Writer()
    writer.text(value, 256)
    return writer.octets


def test_octets_of_set() -> None:
    octets = bytes.fromhex("2000d573 00000001 00000004") + b"tcp6" + bytes.fromhex("00000011")
    octets += b"2001:db8::1.14.70\0\0\0" + bytes.fromhex("00000004") + b"root"
    assert SET.encode() == octets
    assert_whole(Binding.decode, octets, SET)


@given(bindings)
def test_bindings_come_back(binding: Binding) -> None:
    assert Binding.decode(binding.encode()) == binding


def test_results() -> None:
    assert_whole(decode_done, bytes.fromhex("00000001"), True)
    assert_whole(decode_done, bytes(4), False)
    assert_whole(decode_address, text("2001:db8::1.14.70"), (ADDRESS, 3654))
    assert decode_address(bytes(4)) is None


@given(address6, st.integers(0, 65_535))
def test_universal_addresses_come_back(address: IPv6Address, port: int) -> None:
    assert parse_universal(universal(address, port)) == (address, port)


@pytest.mark.parametrize(
    ("text", "address", "port"),
    [
        ("2001:db8::1.14.70", "2001:db8::1", 3654),
        ("::.14.70", "::", 3654),
        ("::ffff:192.0.2.1.0.111", "::ffff:192.0.2.1", 111),  # any text form of RFC 4291
        ("2001:0DB8:0:0:0:0:0:1.255.255", "2001:db8::1", 65_535),
    ],
)
def test_universal_addresses_end_in_the_port(text: str, address: str, port: int) -> None:
    assert parse_universal(text) == (IPv6Address(address), port)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "::1",
        "::1.2",
        "::1.256.0",
        "::1.0.-1",
        "192.0.2.1.0.111",
        "::1.1.1 ",
        "::1%lo.1.1",
        "::1.1.٣",
    ],
)
def test_what_is_no_universal_address(text: str) -> None:
    with pytest.raises(DecodeError):
        parse_universal(text)


@given(st.binary(max_size=80))
def test_any_octets(octets: bytes) -> None:
    assert_canonical(Binding.decode, Binding.encode, octets)
    assert_canonical(decode_done, lambda done: done.to_bytes(4, "big"), octets)


@given(st.text(max_size=40) | st.from_regex(r"[0-9a-f:.]{0,30}\.[0-9]{1,3}\.[0-9]{1,3}"))
def test_any_text(value: str) -> None:
    try:
        address, port = parse_universal(value)
    except DecodeError:
        return
    assert parse_universal(universal(address, port)) == (address, port)
