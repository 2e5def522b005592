from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dstmrouter.errors import DecodeError
from dstmrouter.protocols.sasl import AuthenticationError
from dstmrouter.protocols.sasl_digest import DigestClient, DigestServer, parse, response, secret
from tests.protocols.tsp_samples import PASSWORD, REALM, USER, Users

VECTOR = {
    "nonce": b"1113908968",
    "cnonce": b"1113923311",
    "nc": b"00000001",
    "qop": b"auth",
    "digest-uri": b"tsp/hexos",
}


def test_known_answer_of_tsp() -> None:
    ha1 = secret("username1", "hexos", "password")
    assert response(ha1, VECTOR, b"AUTHENTICATE") == b"f8e42b3c50c59771853f6274fcffd1ca"
    assert response(ha1, VECTOR, b"") == b"70d5cabc9235568be380ba2c907381fe"


def test_known_answer_of_the_rfc() -> None:
    """RFC 2831 section 4."""
    items = VECTOR | {
        "nonce": b"OA6MG9tEQGm2hh",
        "cnonce": b"OA6MHXh6VqTrRk",
        "digest-uri": b"imap/elwood.innosoft.com",
    }
    ha1 = secret("chris", "elwood.innosoft.com", "secret")
    assert response(ha1, items, b"AUTHENTICATE") == b"d388dad90d4bbd760a152321f2143af7"
    assert response(ha1, items, b"") == b"ea40f60335c427b5527b84dbabcdfffd"


def test_both_sides_convince_each_other() -> None:
    server = DigestServer(Users(), REALM, "n1")
    client = DigestClient(USER, PASSWORD, host="tsp.example", cnonce="c1")
    challenge = server.start().challenge
    assert challenge == b'realm="dstm",nonce="n1",qop="auth",algorithm=md5-sess,charset=utf-8'
    answer = client.step(challenge)
    assert answer is not None
    reply = server.step(answer)
    assert reply.identity == USER
    assert reply.challenge is not None
    assert not client.satisfied
    assert client.step(reply.challenge) is None
    assert client.satisfied


def answer_with(change: dict[str, bytes], password: str = PASSWORD) -> bytes:
    """A response with some items replaced before it is hashed; b"" leaves one out."""
    items = VECTOR | {"nonce": b"n1", "username": b"ann", "realm": b"dstm"} | change
    items = {name: value for name, value in items.items() if value}
    items["response"] = response(secret(USER, REALM, password), items, b"AUTHENTICATE")
    return b", ".join(b'%s="%s"' % (name.encode(), value) for name, value in items.items())


@pytest.mark.parametrize("change", [{}, {"authzid": b"ann"}, {"charset": b"utf-8"}, {"qop": b""}])
def test_tolerated_answers(change: dict[str, bytes]) -> None:
    assert DigestServer(Users(), REALM, "n1").step(answer_with(change)).identity == USER


@pytest.mark.parametrize(
    "change",
    [
        {"nonce": b"n2"},
        {"realm": b"other"},
        {"nc": b"00000002"},
        {"qop": b"auth-int"},
        {"digest-uri": b"imap/hexos"},
        {"username": b"bob"},
        {"authzid": b"bob"},
        {"username": b"\xff"},
        {"realm": b""},
    ],
)
def test_refused_answers(change: dict[str, bytes]) -> None:
    with pytest.raises(DecodeError):
        DigestServer(Users(), REALM, "n1").step(answer_with(change))


def test_wrong_password_and_missing_digest_are_refused() -> None:
    with pytest.raises(AuthenticationError, match="wrong"):
        DigestServer(Users(), REALM, "n1").step(answer_with({}, "pencils"))
    with pytest.raises(AuthenticationError, match="no digest"):
        DigestServer(Users(digest=False), REALM, "n1").step(answer_with({}))


def test_a_server_without_the_password_is_found_out() -> None:
    client = DigestClient(USER, PASSWORD, host="h", cnonce="c1")
    client.step(DigestServer(Users(), REALM, "n1").start().challenge or b"")
    with pytest.raises(AuthenticationError, match="server"):
        client.step(b"rspauth=00000000000000000000000000000000")
    assert not client.satisfied


@pytest.mark.parametrize("separator", [b",", b", ", b" ,\r\n ", b",,"])
def test_items_are_separated_as_clients_do(separator: bytes) -> None:
    message = separator.join((b'User="a\\"b,c"', b"nc=1", b'empty=""'))
    assert parse(message) == {"user": b'a"b,c', "nc": b"1", "empty": b""}


@pytest.mark.parametrize("message", [b"a=1,a=2", b"a", b'a="x', b"a=1 b=2", b"=1", b"a=1,\0"])
def test_other_items_are_refused(message: bytes) -> None:
    with pytest.raises(AuthenticationError):
        parse(message)


def test_latin_and_other_passwords() -> None:
    assert secret("\u00e9", "r", "p") != secret("e", "r", "p")
    assert secret("\u0416", "r", "p") == secret("\u0416", "r", "p") != secret("Z", "r", "p")


@given(st.binary(max_size=80))
def test_any_octets_are_items_or_an_error(message: bytes) -> None:
    with pytest.raises(DecodeError):
        DigestServer(Users(), REALM, "n1").step(message)
