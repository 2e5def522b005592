"""Validators of single values: what passes, what does not, and the phrase they refuse with."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from dstmrouter.config.checks import (
    MISFIT,
    counted,
    decimal,
    parsed,
    power_of_two,
    seconds,
    text,
    whole,
)

if TYPE_CHECKING:
    from pydantic import BeforeValidator


def validate(check: BeforeValidator, value: object) -> Any:
    return TypeAdapter(Annotated[Any, check]).validate_python(value)


def refusal(check: BeforeValidator, value: object) -> str:
    """What was expected instead of `value`."""
    with pytest.raises(ValidationError) as caught:
        validate(check, value)
    (error,) = caught.value.errors()
    assert error["type"] == MISFIT
    ((below, expected),) = error["ctx"]["misfits"]
    assert below == ()
    return str(expected)


@given(st.integers())
def test_whole(value: int) -> None:
    check = whole(-3, 70, "octets")
    if -3 <= value <= 70:
        assert validate(check, value) == value
    else:
        assert refusal(check, value) == "an integer between -3 and 70 (octets)"


@pytest.mark.parametrize("value", [True, 1.0, "1", None, [1]])
def test_whole_takes_integers_only(value: object) -> None:
    assert refusal(whole(0, 9), value) == "an integer between 0 and 9"


@given(st.integers(-10, 300))
def test_power_of_two(value: int) -> None:
    check = power_of_two(2, 256)
    if value in {2, 4, 8, 16, 32, 64, 128, 256}:
        assert validate(check, value) == value
    else:
        assert refusal(check, value) == "a power of two between 2 and 256"


@pytest.mark.parametrize("value", [0.5, 1, 7.25, 60])
def test_seconds(value: float) -> None:
    for check in (seconds(0.5, 60), decimal(0.5, 60, "eggs")):
        found = validate(check, value)
        assert type(found) is float
        assert found == value


@pytest.mark.parametrize("value", [0.4, 61, True, "5", float("nan"), float("inf"), 10**400])
def test_seconds_refused(value: object) -> None:
    assert refusal(seconds(0.5, 60), value) == "seconds between 0.5 and 60"
    assert refusal(decimal(0.5, 60, "eggs"), value) == "a number between 0.5 and 60 (eggs)"


def test_counted() -> None:
    check = counted(1, 2, "eggs")
    assert validate(check, [0, 0]) == [0, 0]
    for value in ([], [0, 0, 0], "egg", {"a": 1}):
        assert refusal(check, value) == "an array of 1 to 2 eggs"


def test_text_must_match_as_a_whole() -> None:
    check = text("[a-z]+", "small letters")
    assert validate(check, "abc") == "abc"
    for value in ("abc\n", "aBc", "", 3):
        assert refusal(check, value) == "small letters"


def test_parsed_checks_ready_made_values_too() -> None:
    def small(value: str) -> int:
        if int(value) > 9:
            raise ValueError
        return int(value)

    check = parsed(int, small, "a digit")
    assert validate(check, "7") == 7
    assert validate(check, 7) == 7
    for value in ("x", "10", 10, 7.0):
        assert refusal(check, value) == "a digit"
