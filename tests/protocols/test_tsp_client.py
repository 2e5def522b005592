from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dstmrouter.protocols.tsp_client import (
    TRANSITIONS,
    Answered,
    ClientSession,
    Event,
    Failed,
    Input,
    Ready,
    Redirected,
    Refused,
    State,
    step,
)
from dstmrouter.protocols.tsp_session import SessionTerms
from dstmrouter.protocols.tsp_status import Status
from dstmrouter.protocols.tsp_xml import Action, End, Tunnel
from dstmrouter.transitions import TransitionError
from tests.protocols.tsp_samples import (
    ALL,
    CLIENT6,
    GIVEN,
    USER,
    WISH,
    credential,
    framed,
    sent,
    session,
)

if TYPE_CHECKING:
    from dstmrouter.protocols.tsp_session import Session


def talk(client: ClientSession, server: Session) -> Event | None:
    """Carry octets both ways until the client knows something, or both are silent."""
    while (event := client.next_event()) is None:
        out = b"".join(client.chunks())
        server.receive_data(out)
        server.next_event(0.0)
        back = sent(server)
        client.receive_data(back)
        if not out and not back:
            return None
    return event


def ready(name: str, *, user: str | None = USER) -> tuple[ClientSession, Session]:
    client = ClientSession("2.0.2", credential(user, plain=True))
    server = session(name)
    assert talk(client, server) == Ready()
    return client, server


@pytest.mark.parametrize("name", ALL)
def test_both_sides_understand_each_other(name: str) -> None:
    client, server = ready(name, user=None if name == "ANONYMOUS" else USER)
    assert server.identity == ("" if name == "ANONYMOUS" else USER)
    client.create(WISH)
    server.receive_data(b"".join(client.chunks()))
    assert server.next_event(0.0) == WISH
    server.offer(GIVEN, 0.0)
    assert talk(client, server) == Answered(GIVEN)
    client.accept()
    server.receive_data(b"".join(client.chunks()))
    accepted = server.next_event(0.0)
    assert accepted is not None
    assert accepted.action is Action.ACCEPT
    server.settle(until=900.0)
    client.delete(Tunnel(action=Action.DELETE, client=End(ipv6=CLIENT6)))
    server.receive_data(b"".join(client.chunks()))
    assert server.next_event(0.0) is not None
    server.answer(None, until=10.0)
    assert talk(client, server) == Answered(None)


def test_messages_to_send_are_apart() -> None:
    client = ClientSession("2.0.2", credential(plain=True))
    assert client.chunks() == [b"VERSION=2.0.2\r\n"]
    client.receive_data(b"CAPABILITY TUNNEL=V4V6 AUTH=PLAIN\r\n")
    assert client.next_event() is None
    assert client.chunks() == [b"AUTHENTICATE PLAIN\r\n", b"\0ann\0pencil\r\n"]


@pytest.mark.parametrize(
    ("octets", "event"),
    [
        (b"302 Unsupported\r\n", Refused(302)),
        (b"CAPABILITY TUNNEL=V6V4 AUTH=DIGEST-MD5\r\n", "no v4v6"),
        (b"CAPABILITY TUNNEL=V4V6 AUTH=PLAIN AUTH=X\r\n", "PLAIN, X, none of which"),
        (b"CAPABILITY TUNNEL=V4V6\r\n", "nothing, none of which"),
        (b"200 Success\r\n", "without having proved"),
        (b"\r\n", "CAPABILITY"),
        (b"x" * 2000, "more than"),
    ],
)
def test_beginnings_that_lead_nowhere(octets: bytes, event: Refused | str) -> None:
    client = ClientSession("2.0.0", credential())
    client.receive_data(octets)
    found = client.next_event()
    if isinstance(event, str):
        assert isinstance(found, Failed)
        assert event in found.why
    else:
        assert found == event
    assert client.state is State.CLOSED
    assert client.next_event() is None


def test_a_server_that_proves_nothing_is_not_believed() -> None:
    client = ClientSession("2.0.0", credential())
    client.receive_data(b"CAPABILITY TUNNEL=V4V6 AUTH=DIGEST-MD5\r\n200 Success\r\n")
    found = client.next_event()
    assert isinstance(found, Failed)
    assert "proved" in found.why


def test_wrong_credentials_are_told() -> None:
    client, server = ClientSession("2.0.0", credential(password="pencils")), session("DIGEST-MD5")
    assert talk(client, server) == Refused(300)


LIST = (
    b'<tunnel action="list" type="broker"><broker><address type="dn">b</address></broker></tunnel>'
)


@pytest.mark.parametrize("before", [b"", b"CAPABILITY TUNNEL=V4V6 AUTH=SCRAM-SHA-256\r\n"])
def test_a_list_may_come_without_a_length(before: bytes) -> None:
    client = ClientSession("2.0.0", credential())
    octets = before + b"1200 Redirection\r\n" + LIST
    for octet in octets[:-1]:
        client.receive_data(bytes([octet]))
        assert client.next_event() is None
    client.receive_data(octets[-1:])
    assert client.next_event() == Redirected(("b",))


def test_a_list_may_come_in_place_of_a_tunnel() -> None:
    client, _ = ready("PLAIN")
    client.create(WISH)
    client.receive_data(framed(b"1301 No\r\n" + LIST + b"\r\n"))
    assert client.next_event() == Redirected(("b",))


def test_a_redirecting_server_is_followed() -> None:
    client = ClientSession("2.0.0", credential())
    server = session("SCRAM-SHA-256", terms=SessionTerms(brokers=("2001:db8::9", "b.example")))
    assert talk(client, server) == Redirected(("2001:db8::9", "b.example"))


@pytest.mark.parametrize("status", [Status.BUSY, Status.NO_TUNNEL])
def test_a_refused_request_can_be_asked_again(status: Status) -> None:
    client, _ = ready("PLAIN")
    for _ in range(2):
        client.create(WISH)
        client.receive_data(framed(status.line()))
        assert client.next_event() == Refused(status)


def test_an_offer_that_was_lost_is_told_without_a_question() -> None:
    client, _ = ready("PLAIN")
    client.accept()
    client.receive_data(framed(Status.SERVER_ERROR.line()))
    assert client.next_event() == Refused(310)


@pytest.mark.parametrize("body", [b"hello", b"200 Success\r\n<tunnel/>", b"200 Success\r\nx"])
def test_answers_that_are_none(body: bytes) -> None:
    client, _ = ready("PLAIN")
    client.create(WISH)
    client.receive_data(framed(body))
    assert isinstance(client.next_event(), Failed)


def test_every_pair_is_in_the_table_or_an_error() -> None:
    for state, happened in itertools.product(State, Input):
        if (state, happened) in TRANSITIONS:
            assert step(state, happened) is TRANSITIONS[state, happened]
        else:
            with pytest.raises(TransitionError, match=state.name):
                step(state, happened)


pieces = st.binary(max_size=40) | st.sampled_from(
    [
        b"CAPABILITY TUNNEL=V4V6 AUTH=PLAIN AUTH=SCRAM-SHA-256\r\n",
        b"200 Success\r\n",
        b"1200 R\r\n",
        LIST,
        framed(b"200 Success\r\n"),
        b"bm9uY2U9IngiLHJlYWxtPSJ4Ig==\r\n",
    ]
)


@given(st.lists(pieces, max_size=8))
def test_any_octets_are_an_event_or_nothing(octets: list[bytes]) -> None:
    client = ClientSession("2.0.0", credential(plain=True))
    for piece in octets:
        client.receive_data(piece)
        event = client.next_event()
        assert not isinstance(event, Failed | Redirected) or client.state is State.CLOSED
        if event == Ready():
            client.create(WISH)
