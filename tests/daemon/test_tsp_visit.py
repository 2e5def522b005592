from __future__ import annotations

import time

from dstmrouter.daemon.tsp_desk import Desk
from dstmrouter.daemon.tsp_visit import IDLE_S, REMEMBERED, Visit
from dstmrouter.leases.state import State
from dstmrouter.protocols.tsp_datagram import Datagram
from dstmrouter.protocols.tsp_session import LINE_S, Session, SessionTerms
from dstmrouter.protocols.tsp_state import Ending
from dstmrouter.protocols.tsp_xml import encode
from tests.daemon.test_server_ledger import Setting, settling
from tests.daemon.test_tsp_desk import ACCEPT, CREATE, DELETE, office_of, state
from tests.leases.lending import client
from tests.protocols.tsp_samples import framed


def visit_of(setting: Setting, *waiting: bytes) -> Visit:
    session = Session(SessionTerms(), {}, now=time.monotonic(), identity="ann")
    return Visit(client(1), numbered(0), session, Desk(office_of(setting), client(1)), waiting)


def numbered(sequence: int, stamp: int = 0) -> Datagram:
    return Datagram(sequence, stamp, b"")


def test_a_message_is_answered_and_its_answer_kept() -> None:
    async def scenario(setting: Setting) -> None:
        visit = visit_of(setting)
        await visit.take(framed(encode(CREATE)))
        answer = visit.answer_next(numbered(7))
        assert b'action="info"' in answer
        assert visit.answer_again(numbered(7, 99)) == answer
        assert visit.answer_again(numbered(8)) is None
        await visit.take(framed(encode(ACCEPT)))
        assert visit.answer_next(numbered(8)) == b""
        assert visit.answer_again(numbered(8)) == b""
        assert state(setting) is State.ACTIVE
        await visit.take(framed(encode(DELETE)))
        assert visit.answer_next(numbered(9)).endswith(b"200 Success\r\n")

    settling(scenario)


def test_what_waits_is_fetched_by_empty_messages() -> None:
    async def scenario(setting: Setting) -> None:
        visit = visit_of(setting, b"one", b"two")
        answers = [visit.answer_next(numbered(number)) for number in range(3)]
        assert answers == [b"one", b"two", b""]
        for number in range(3, 3 + REMEMBERED):
            visit.answer_next(numbered(number))
        assert visit.answer_again(numbered(2)) is None
        assert not visit.is_new(numbered(2))
        assert visit.is_new(numbered(3 + REMEMBERED))

    settling(scenario)


def test_a_last_line_end_may_be_missing() -> None:
    async def scenario(setting: Setting) -> None:
        visit = visit_of(setting)
        await visit.take(framed(encode(CREATE))[:-2])
        await visit.take(framed(encode(ACCEPT))[:-2])
        assert state(setting) is State.ACTIVE
        assert visit.session.ending is None

    settling(scenario)


def test_half_a_message_ends_the_visit_and_takes_back_its_offer() -> None:
    async def scenario(setting: Setting) -> None:
        visit = visit_of(setting)
        await visit.take(framed(encode(CREATE)))
        assert state(setting) is State.OFFERED
        await visit.take(framed(encode(ACCEPT))[:-4])
        assert visit.session.ending is Ending.MALFORMED
        assert state(setting) is State.REMOVING

    settling(scenario)


def test_a_slow_or_silent_client_is_over() -> None:
    async def scenario(setting: Setting) -> None:
        now = time.monotonic()
        slow, silent = visit_of(setting), visit_of(setting)
        assert not slow.is_over(now)
        assert slow.is_over(now + LINE_S + 1)
        await silent.take(framed(encode(CREATE)))
        await silent.take(framed(encode(ACCEPT)))
        assert not silent.is_over(now + IDLE_S - 1)
        silent.busy = True
        assert not silent.is_over(now + IDLE_S + 1)
        silent.busy = False
        assert silent.is_over(now + IDLE_S + 1)
        await silent.leave()
        assert state(setting) is State.ACTIVE

    settling(scenario)
