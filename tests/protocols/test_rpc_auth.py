from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dstmrouter.errors import DecodeError
from dstmrouter.protocols.rpc_auth import AUTH_SYS, AuthSys, OpaqueAuth, read_auth, write_auth
from dstmrouter.protocols.xdr import Reader, Writer
from tests.protocols.decoding import assert_canonical, assert_whole
from tests.protocols.rpc_messages import any_auth, auth_sys

ANN = AuthSys(stamp=1, machine=b"host", uid=1000, gid=100, gids=(4, 24))
OCTETS = "00000001 00000004 686f7374 000003e8 00000064 00000002 00000004 00000018"


def test_octets_of_auth_sys() -> None:
    assert ANN.encode().flavor == AUTH_SYS
    assert ANN.encode().body == bytes.fromhex(OCTETS)
    assert_whole(AuthSys.decode, ANN.encode().body, ANN)


@given(auth_sys)
def test_auth_sys_comes_back(sent: AuthSys) -> None:
    assert AuthSys.decode(sent.encode().body) == sent


@given(st.binary(max_size=80))
def test_any_octets(octets: bytes) -> None:
    assert_canonical(AuthSys.decode, lambda found: found.encode().body, octets)


@given(any_auth)
def test_any_flavor_comes_back(sent: OpaqueAuth) -> None:
    writer = Writer()
    write_auth(writer, sent)
    reader = Reader(writer.octets)
    assert read_auth(reader) == sent
    reader.end()


@pytest.mark.parametrize(
    ("at", "count", "why"), [(4, 256, "256 octets, limit 255"), (20, 17, "17 elements, limit 16")]
)
def test_limits(at: int, count: int, why: str) -> None:
    octets = bytearray(bytes.fromhex(OCTETS) + bytes(300))
    octets[at : at + 4] = count.to_bytes(4, "big")
    with pytest.raises(DecodeError, match=why):
        AuthSys.decode(bytes(octets))


def test_a_body_has_400_octets_at_most() -> None:
    writer = Writer()
    writer.uint32(0)
    writer.opaque(bytes(404), 404)
    with pytest.raises(DecodeError, match="404 octets, limit 400"):
        read_auth(Reader(writer.octets))
