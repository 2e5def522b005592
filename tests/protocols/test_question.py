from __future__ import annotations

import pytest

from dstmrouter.protocols.clientaction import Ask
from dstmrouter.protocols.question import OpenQuestion
from tests.protocols.leases import FIRST4, HOME6


def ask(question: OpenQuestion, now: float = 5.0) -> Ask:
    return question.put(now, server=1, client6=HOME6, hint4=FIRST4, renew=None)


def test_only_the_right_number_answers_and_once() -> None:
    question = OpenQuestion()
    assert not question
    first = ask(question)
    assert first == Ask(serial=1, server=1, client6=HOME6, hint4=FIRST4, renew=None)
    assert question
    assert question.answered(2) is None
    assert question.answered(1) == (first, 5.0)
    assert question.answered(1) is None
    assert not question


def test_a_dropped_question_is_not_answered() -> None:
    question = OpenQuestion()
    ask(question)
    assert question.drop()
    assert not question.drop()
    second = ask(question, now=9.0)
    assert question.answered(1) is None
    assert question.answered(second.serial) == (second, 9.0)


def test_two_at_a_time_are_our_own_mistake() -> None:
    question = OpenQuestion()
    ask(question)
    with pytest.raises(AssertionError, match="two questions"):
        ask(question)
