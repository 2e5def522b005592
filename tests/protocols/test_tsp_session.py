from __future__ import annotations

import base64
from typing import TYPE_CHECKING

import pytest

from dstmrouter.protocols.sasl_digest import DigestClient
from dstmrouter.protocols.sasl_scram import ScramClient
from dstmrouter.protocols.tsp_session import (
    LINE_S,
    PROOF_GAP_S,
    SETUP_S,
    Chunk,
    SessionTerms,
)
from dstmrouter.protocols.tsp_state import Ending, State
from dstmrouter.protocols.tsp_status import Status
from dstmrouter.protocols.tsp_xml import Action
from tests.protocols.tsp_samples import (
    ACCEPT,
    CREATE,
    DELETE,
    GIVEN,
    INFO,
    PASSWORD,
    QUERY,
    REJECT,
    USER,
    WISH,
    authenticated,
    framed,
    sent,
    session,
)

if TYPE_CHECKING:
    from dstmrouter.protocols.sasl_client import ClientMechanism

DIALOGUE = b"VERSION=2.0.0\r\nAUTHENTICATE ANONYMOUS\r\n" + framed(CREATE)
DEPLOYED = b"VERSION=2.0.2\r\nAUTHENTICATE ANONYMOUS\r\n\0" + framed(CREATE)
BARE_ENDS = b"VERSION=2.0.0\nAUTHENTICATE ANONYMOUS\nContent-length: 192\n" + CREATE
CAPABILITY = b"CAPABILITY TUNNEL=V4V6 AUTH=ANONYMOUS AUTH=PLAIN AUTH=DIGEST-MD5\r\n"


@pytest.mark.parametrize("octets", [DIALOGUE, DEPLOYED, BARE_ENDS])
def test_the_dialogue_of_the_specification(octets: bytes) -> None:
    server = session("ANONYMOUS", "PLAIN", "DIGEST-MD5")
    server.receive_data(octets)
    assert server.next_event(1.0) == WISH
    assert sent(server) == CAPABILITY + b"200 Success\r\n"
    server.offer(GIVEN, 2.0)
    assert sent(server) == b"Content-length: 389\r\n200 Success\r\n" + INFO
    assert (server.state, server.deadline) == (State.OFFERED, 32.0)
    server.receive_data(framed(ACCEPT))
    accepted = server.next_event(3.0)
    assert accepted is not None
    assert accepted.action is Action.ACCEPT
    server.settle(until=903.0)
    assert (sent(server), server.deadline) == (b"", 903.0)
    server.receive_data(framed(DELETE))
    deleted = server.next_event(4.0)
    assert deleted is not None
    server.answer(None, until=14.0)
    assert sent(server) == b"Content-length: 13\r\n200 Success\r\n"


def test_octet_by_octet_is_the_same() -> None:
    server = session("ANONYMOUS")
    for octet in DEPLOYED[:-1]:
        server.receive_data(bytes([octet]))
        assert server.next_event(0.0) is None
    server.receive_data(DEPLOYED[-1:])
    assert server.next_event(0.0) == WISH


def test_requests_wait_for_the_answer_to_the_one_before() -> None:
    server = authenticated()
    server.receive_data(framed(CREATE) + framed(REJECT) + framed(QUERY))
    assert server.next_event(0.0) == WISH
    with pytest.raises(AssertionError):
        server.next_event(0.0)
    server.offer(GIVEN, 0.0)
    rejected = server.next_event(0.0)
    assert rejected is not None
    assert rejected.action is Action.REJECT
    server.settle(until=9.0)
    asked = server.next_event(0.0)
    assert asked is not None
    assert asked.action is Action.INFO


@pytest.mark.parametrize("padding", [b"", b"\0"], ids=["plain", "deployed"])
def test_plain_may_follow_at_once(padding: bytes) -> None:
    server = session("PLAIN")
    credentials = b"\0ann\0pencil\r\n"
    server.receive_data(b"VERSION=2.0.0\r\nAUTHENTICATE PLAIN\r\n" + padding + credentials)
    assert server.next_event(0.0) is None
    assert (server.identity, server.state) == (USER, State.COMMAND)
    assert sent(server).endswith(b"200 Success\r\n")


@pytest.mark.parametrize("name", ["DIGEST-MD5", "SCRAM-SHA-256"])
def test_the_server_s_proof_and_its_verdict_are_two_writes(name: str) -> None:
    clients: dict[str, ClientMechanism] = {
        "DIGEST-MD5": DigestClient(USER, PASSWORD, host="h", cnonce="c"),
        "SCRAM-SHA-256": ScramClient(USER, PASSWORD, b"c"),
    }
    client, server = clients[name], session()
    server.receive_data(b"VERSION=2.0.0\nAUTHENTICATE " + name.encode() + b"\r\n\0")
    server.next_event(0.0)
    server_says = sent(server).splitlines()[1:]
    said = client.start()
    while not client.satisfied:
        if server_says:
            said = client.step(base64.b64decode(server_says.pop()))
        if said is not None:
            server.receive_data(base64.b64encode(said) + b"\r\n")
        assert server.next_event(0.0) is None
        chunks = server.chunks()
        server_says = [chunk.data for chunk in chunks[:1]]
        if chunks[1:]:
            assert chunks[1:] == [Chunk(b"200 Success\r\n", PROOF_GAP_S)]
    assert server.identity == USER


@pytest.mark.parametrize(
    ("octets", "answer", "ending"),
    [
        (b"VERSION=1.0.1\r\n", b"302 Unsupported client version\r\n", Ending.UNSUPPORTED_VERSION),
        (b"HELO\r\n", Status.BAD_REQUEST.line(), Ending.MALFORMED),
        (b"x" * 2000, Status.BAD_REQUEST.line(), Ending.MALFORMED),
    ],
)
def test_bad_beginnings(octets: bytes, answer: bytes, ending: Ending) -> None:
    server = session()
    server.receive_data(octets)
    assert server.next_event(0.0) is None
    assert (sent(server), server.ending) == (answer, ending)
    assert server.state is State.CLOSED


@pytest.mark.parametrize(
    "line",
    [
        b"AUTHENTICATE EXTERNAL",
        b"AUTHENTICATE KERBEROS_V4",
        b"AUTHENTICATE PLAIN\r\n\0ann\0pencils",
        b"AUTHENTICATE DIGEST-MD5\r\n?",
        b"AUTHENTICATE SCRAM-SHA-256\r\nbg==",
    ],
)
def test_what_was_wrong_with_the_authentication_is_not_told(line: bytes) -> None:
    server = session()
    server.receive_data(b"VERSION=2.0.0\r\n" + line + b"\r\n")
    assert server.next_event(0.0) is None
    assert sent(server).splitlines()[-1] == b"300 Authentication failed"
    assert (server.ending, server.identity) == (Ending.AUTHENTICATION_FAILED, None)


@pytest.mark.parametrize(
    ("old", "new", "status"),
    [
        (b'type="v4v6"', b'type="v6v4"', 303),
        (b"2001:db8:c18:ffff::1", b"2001:db8::x", 502),
        (b"192.0.2.2", b"192.0.2.256", 501),
    ],
)
def test_a_request_that_is_refused_does_not_end_the_dialogue(
    old: bytes, new: bytes, status: int
) -> None:
    server = authenticated()
    server.receive_data(framed(CREATE.replace(old, new)) + framed(CREATE))
    assert server.next_event(0.0) == WISH
    assert sent(server).splitlines()[1][:3] == b"%d" % status


@pytest.mark.parametrize(
    "octets",
    [
        framed(ACCEPT),
        framed(REJECT),
        framed(b'<tunnel action="list"></tunnel>'),
        framed(b"hello"),
        b"hello\r\n",
        b"Content-length: 9999\r\n",
    ],
)
def test_octets_that_are_no_request_end_the_dialogue(octets: bytes) -> None:
    server = authenticated()
    server.receive_data(octets + framed(CREATE))
    assert server.next_event(0.0) is None
    text = b"500 Invalid request format or specified length\r\n"
    assert (sent(server), server.ending) == (framed(text), Ending.MALFORMED)


def test_refusals_may_name_other_servers() -> None:
    server = authenticated()
    server.receive_data(framed(CREATE))
    server.next_event(0.0)
    server.refuse(Status.NO_TUNNEL, until=5.0, brokers=("2001:db8::9",))
    header, status, body, _ = sent(server).split(b"\r\n")
    assert header == b"Content-length: %d" % (len(status) + len(body) + 4)
    assert status == b"1301 No more tunnels available"
    assert body.startswith(b'<tunnel action="list" type="broker">')
    assert server.state is State.COMMAND


def test_everybody_can_be_sent_elsewhere_after_authentication() -> None:
    server = session("ANONYMOUS", terms=SessionTerms(brokers=("tsp.example.net",)))
    server.receive_data(DIALOGUE)
    assert server.next_event(0.0) is None
    lines = sent(server).split(b"\r\n")
    assert lines[1] == b"1200 Redirection"
    assert b'<address type="dn">tsp.example.net</address>' in lines[2]
    assert server.ending is Ending.REDIRECTED


def test_a_silent_client_is_left() -> None:
    server = session()
    assert server.deadline == LINE_S
    server.receive_data(b"VERSION=2.0.0\r\n")
    server.next_event(9.0)
    assert server.deadline == 19.0
    server.expire(18.9)
    assert server.state is State.AUTHENTICATE
    server.expire(19.0)
    assert server.ending is Ending.TIMED_OUT
    assert server.deadline is None


def test_slow_lines_do_not_add_up() -> None:
    server = session()
    server.receive_data(b"VERSION=2.0.0\r\n")
    server.next_event(SETUP_S - 1)
    assert server.deadline == SETUP_S


def test_an_offer_can_be_lost() -> None:
    server = authenticated()
    server.receive_data(framed(CREATE) + framed(ACCEPT))
    server.next_event(0.0)
    server.offer(GIVEN, 0.0)
    server.chunks()
    server.next_event(1.0)
    server.lose("another client has it")
    assert sent(server) == framed(b"310 Server side error\r\n")
    assert server.ending is Ending.OFFER_LOST


def test_only_the_first_ending_counts() -> None:
    server = session()
    server.close(Ending.SHUT_DOWN, "now")
    server.close(Ending.TIMED_OUT, "later")
    assert (server.ending, server.why) == (Ending.SHUT_DOWN, "now")


def test_a_rest_is_seen() -> None:
    server = authenticated()
    server.receive_data(framed(CREATE) + b"\0\r\n")
    server.next_event(0.0)
    assert server.complete
    server.receive_data(b"C")
    assert not server.complete


def test_a_client_that_gets_nothing_is_left_after_a_while() -> None:
    server = authenticated()
    for now in (5.0, 12.0, 21.0, 29.0):
        server.receive_data(framed(QUERY))
        assert server.next_event(now) is not None
        server.refuse(Status.NO_TUNNEL, until=server.grace(now))
    assert server.deadline == SETUP_S


def test_an_answer_that_comes_after_the_end_is_dropped() -> None:
    server = authenticated()
    server.receive_data(framed(CREATE))
    server.next_event(0.0)
    server.close(Ending.SHUT_DOWN, "")
    server.offer(GIVEN, 1.0)
    server.settle(until=9.0)
    server.lose("late")
    assert (sent(server), server.state, server.ending) == (b"", State.CLOSED, Ending.SHUT_DOWN)
    assert server.deadline is None
