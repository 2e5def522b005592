from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dstmrouter.errors import DecodeError
from dstmrouter.protocols.sasl import AuthenticationError, UserKeys
from dstmrouter.protocols.sasl_scram import ScramClient, ScramServer, make_keys
from dstmrouter.protocols.sasl_text import unbase64
from tests.protocols.tsp_samples import PASSWORD, USER, Users

SALT = unbase64(b"W22ZaJ0SNY7soEsUEjb6gQ==")
FIRST = b"n,,n=user,r=rOprNGfwEbeRWgbNEkqO"
CHALLENGE = (
    b"r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096"
)
FINAL = (
    b"c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,"
    b"p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ="
)
PROOF = b"v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4="
OURS = b"%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0"


class Rfc:
    """The user of RFC 7677 section 3."""

    def keys_of(self, user: str) -> UserKeys:
        assert user == "user"
        return make_keys("pencil", SALT, 4096)

    def check_password(self, user: str, password: str) -> bool:
        raise NotImplementedError(user, password)


def test_the_dialogue_of_rfc_7677() -> None:
    server = ScramServer(Rfc(), OURS)
    client = ScramClient("user", "pencil", b"rOprNGfwEbeRWgbNEkqO")
    assert client.start() == FIRST
    assert server.step(FIRST).challenge == CHALLENGE
    assert client.step(CHALLENGE) == FINAL
    done = server.step(FINAL)
    assert (done.challenge, done.identity) == (PROOF, "user")
    assert client.step(PROOF) is None
    assert client.satisfied


@pytest.mark.parametrize("name", ["ann", "=,=", "b\u00e4r"])
def test_names_survive_their_escapes(name: str) -> None:
    class Anybody(Users):
        def keys_of(self, user: str) -> UserKeys:
            assert user == name
            return super().keys_of(USER)

    server, client = ScramServer(Anybody(), b"s"), ScramClient(name, PASSWORD, b"c")
    final = client.step(server.step(client.start() or b"").challenge or b"")
    assert server.step(final or b"").identity == name


@pytest.mark.parametrize(
    "first",
    [
        b"",
        b"n,,n=ann",
        b"p=tls-exporter,,n=ann,r=c",
        b"n,a=bob,n=ann,r=c",
        b"n,,n=a=n,r=c",
        b"n,,n=\xff,r=c",
        b"n,,m=1,n=ann,r=c",
        b"n,,n=ann,r=c,m=1",
        b"n,,n=ann,r=" + b"c" * 257,
    ],
)
def test_first_messages_that_are_refused(first: bytes) -> None:
    with pytest.raises(DecodeError):
        ScramServer(Users(), b"s").step(first)


def final_of(user: str, password: str, header: bytes = b"n,,") -> tuple[ScramServer, bytes]:
    server, client = ScramServer(Users(), b"s"), ScramClient(user, password, b"c")
    first = (client.start() or b"").replace(b"n,,", header)
    return server, client.step(server.step(first).challenge or b"") or b""


def test_the_final_message_repeats_the_header() -> None:
    server, final = final_of(USER, PASSWORD, b"n,a=ann,")
    with pytest.raises(AuthenticationError, match="header"):
        server.step(final)


@pytest.mark.parametrize(("user", "password"), [("ann", "pencils"), ("bob", "pencil")])
def test_wrong_passwords_and_users_look_alike(user: str, password: str) -> None:
    server, final = final_of(user, password)
    with pytest.raises(AuthenticationError, match="wrong user or password"):
        server.step(final)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b"c=biws", b"c=eSws"),
        (b"r=cs", b"r=ct"),
        (b",p=", b",p=AAAA"),
        (b"p=", b"q="),
        (b"c=", b"c=?"),
    ],
)
def test_final_messages_that_are_refused(old: bytes, new: bytes) -> None:
    server, final = final_of(USER, PASSWORD)
    assert old in final
    with pytest.raises(DecodeError):
        server.step(final.replace(old, new, 1))


@pytest.mark.parametrize(
    "challenge",
    [
        b"",
        b"r=other,s=AAAA,i=10",
        b"r=c,s=AAAA,i=10",
        b"r=cs,s=AAAA,i=0",
        b"r=cs,s=AAAA,i=9999999",
        b"r=cs,s=A,i=10",
    ],
)
def test_challenges_that_a_client_refuses(challenge: bytes) -> None:
    client = ScramClient(USER, PASSWORD, b"c")
    client.start()
    with pytest.raises(DecodeError):
        client.step(challenge)


def test_a_server_without_the_password_is_found_out() -> None:
    client = ScramClient(USER, PASSWORD, b"c")
    client.step(b"r=cs,s=AAAA,i=10")
    with pytest.raises(AuthenticationError, match="server"):
        client.step(b"v=AAAA")
    assert not client.satisfied


@given(st.binary(max_size=60), st.binary(max_size=60))
def test_any_octets_are_refused(first: bytes, final: bytes) -> None:
    server = ScramServer(Users(), b"s")
    with pytest.raises(DecodeError):
        server.step(first)
    server.step(b"n,,n=ann,r=c")
    with pytest.raises(DecodeError):
        server.step(final)
