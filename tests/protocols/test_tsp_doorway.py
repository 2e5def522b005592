from __future__ import annotations

import base64
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dstmrouter.protocols import tsp_doorway
from dstmrouter.protocols.sasl_digest import DigestClient
from dstmrouter.protocols.sasl_scram import ScramClient
from dstmrouter.protocols.tsp_datagram import DATAGRAM_LIMIT, HEADER_LEN, may_answer
from dstmrouter.protocols.tsp_doorway import NONCE_S, Doorway, Entry
from dstmrouter.protocols.tsp_state import Ending
from tests.protocols.tsp_samples import ALL, CREATE, PASSWORD, REALM, USER, Users, attempts, framed

if TYPE_CHECKING:
    from dstmrouter.protocols.sasl_client import ClientMechanism

SOURCE, OTHER = b"address 1", b"address 2"
REFUSED = Entry(payloads=(b"300 Authentication failed\r\n",), ending=Ending.AUTHENTICATION_FAILED)


def doorway(*names: str) -> Doorway:
    return Doorway(attempts(*(names or ALL)), Users(), realm=REALM, key=b"secret")


def clients() -> dict[str, ClientMechanism]:
    return {
        "DIGEST-MD5": DigestClient(USER, PASSWORD, host="h", cnonce="c"),
        "SCRAM-SHA-256": ScramClient(USER, PASSWORD, b"c" * 24),
    }


def encoded(message: bytes | None) -> bytes:
    return base64.b64encode(message or b"") + b"\r\n"


def last_message(server: Doorway, name: str, now: float = 0.0) -> tuple[bytes, ClientMechanism]:
    """Go up to the message that proves who the client is."""
    client = clients()[name]
    chosen = server.answer(f"AUTHENTICATE {name}\r\n\0".encode(), SOURCE, now)
    assert chosen is not None
    said = client.start()
    if said is not None:
        chosen = server.answer(encoded(said), SOURCE, now)
        assert chosen is not None
    assert chosen.identity is None
    return encoded(client.step(base64.b64decode(chosen.payloads[0]))), client


def test_versions_are_answered_by_capabilities() -> None:
    server = doorway("DIGEST-MD5")
    answer = server.answer(b"VERSION=2.0.2\r\n", SOURCE, 0.0)
    assert answer == Entry(payloads=(b"CAPABILITY TUNNEL=V4V6 AUTH=DIGEST-MD5\r\n",))
    old = server.answer(b"VERSION=1.0.1\r\n", SOURCE, 0.0)
    assert old is not None
    assert (old.payloads[0][:3], old.ending) == (b"302", Ending.UNSUPPORTED_VERSION)


@pytest.mark.parametrize("name", ["DIGEST-MD5", "SCRAM-SHA-256"])
def test_a_client_proves_itself_to_a_server_without_memory(name: str) -> None:
    message, client = last_message(doorway(), name)
    done = doorway().answer(message, SOURCE, 1.0)  # another process with the same key
    assert done is not None
    assert done.identity == USER
    assert client.step(base64.b64decode(done.payloads[0])) is None
    assert client.satisfied


@pytest.mark.parametrize("name", ["DIGEST-MD5", "SCRAM-SHA-256"])
def test_a_nonce_is_good_once_for_one_source_and_not_for_long(name: str) -> None:
    server = doorway()
    message, _ = last_message(server, name, 100.0)
    assert server.answer(message, OTHER, 100.0) == REFUSED
    assert server.answer(message, SOURCE, 99.0) == REFUSED
    assert server.answer(message, SOURCE, 100.0 + NONCE_S + 1) == REFUSED
    entered = server.answer(message, SOURCE, 100.0 + NONCE_S - 1)
    assert entered is not None
    assert entered.identity == USER
    assert server.answer(message, SOURCE, 101.0) == REFUSED


def test_used_nonces_are_forgotten_when_they_are_old(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tsp_doorway, "USED_LIMIT", 2)
    server = doorway()
    for now in (0.0, 0.1):
        entered = server.answer(last_message(server, "DIGEST-MD5", now)[0], SOURCE, now)
        assert entered is not None
        assert entered.identity == USER
    assert server.answer(last_message(server, "DIGEST-MD5", 1.0)[0], SOURCE, 1.0) == REFUSED
    later = 2.0 + NONCE_S
    entered = server.answer(last_message(server, "DIGEST-MD5", later)[0], SOURCE, later)
    assert entered is not None
    assert entered.identity == USER


def test_plain_needs_one_message_and_gets_an_empty_one_before() -> None:
    server = doorway()
    assert server.answer(b"AUTHENTICATE PLAIN\r\n\0", SOURCE, 0.0) == Entry()
    assert server.answer(b"\0ann\0pencil\r\n", SOURCE, 0.0) == Entry(identity=USER)
    assert server.answer(b"\0ann\0pencils\r\n", SOURCE, 0.0) == REFUSED
    assert doorway("DIGEST-MD5").answer(b"\0ann\0pencil\r\n", SOURCE, 0.0) is None


def test_anonymous_only_where_it_is_offered() -> None:
    line = b"AUTHENTICATE ANONYMOUS\r\n\0"
    assert doorway().answer(line, SOURCE, 0.0) == Entry(identity="")
    assert doorway("PLAIN").answer(line, SOURCE, 0.0) == REFUSED


@pytest.mark.parametrize("message", [b"", b"\0", framed(CREATE), b"hello, world"])
def test_what_belongs_to_a_session_is_left_to_it(message: bytes) -> None:
    assert doorway().answer(message, SOURCE, 0.0) is None


@pytest.mark.parametrize(
    "message", [b"VERSION=x\r\n", b"AUTHENTICATE\r\n", b"AUTHENTICATE A B\r\n"]
)
def test_half_messages_are_malformed(message: bytes) -> None:
    answer = doorway().answer(message, SOURCE, 0.0)
    assert answer is not None
    assert (answer.payloads[0][:3], answer.ending) == (b"500", Ending.MALFORMED)


@pytest.mark.parametrize("name", ["DIGEST-MD5", "SCRAM-SHA-256"])
def test_no_answer_is_much_larger_than_its_question(name: str) -> None:
    server = doorway()
    asked = [b"VERSION=2.0.0\r\n", f"AUTHENTICATE {name}\r\n".encode()]
    if (said := clients()[name].start()) is not None:
        asked.append(encoded(said))
    asked.append(last_message(server, name)[0])
    for message in asked:
        answer = server.answer(message, SOURCE, 0.0)
        assert answer is not None
        assert all(
            may_answer(HEADER_LEN + len(message), HEADER_LEN + len(payload))
            for payload in answer.payloads
        )


messages = st.binary(max_size=100) | st.builds(
    lambda head, rest: base64.b64encode(head + rest),
    st.sampled_from([b"n,,n=ann,r=", b"c=biws,r=", b'nonce="', b"y,,", b"p="]),
    st.binary(max_size=60),
)


@given(messages)
def test_any_message_has_an_answer_and_lets_nobody_in(message: bytes) -> None:
    answer = doorway("SCRAM-SHA-256", "DIGEST-MD5", "PLAIN").answer(message, SOURCE, 0.0)
    assert answer is None or answer.identity is None
    assert answer is None or all(len(part) < DATAGRAM_LIMIT for part in answer.payloads)
