"""How configuration values are checked and how a check says no.

The values come from TOML: str, int, float, bool, list or dict. A validator returns the checked
value or raises `unlike("an integer between 1 and 64")`; the loader adds file, place and value.
Pydantic's own messages are left for bool, str, missing and unknown keys.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Annotated, Final, TypeAlias, TypeVar

from pydantic import BeforeValidator, Field
from pydantic_core import PydanticCustomError

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")
Several: TypeAlias = Annotated[tuple[T, ...], Field(strict=False)]
"""A TOML array; not strict, because strict mode would want a Python tuple."""

Key: TypeAlias = str | int
Misfit: TypeAlias = tuple[tuple[Key, ...], str]
"""Where below the checked value something is wrong, and what was expected there."""

MISFIT: Final = "misfit"  # the error type of everything that the configuration checks itself


def misfit(*found: Misfit) -> PydanticCustomError:
    """One error that reports every one of `found`."""
    return PydanticCustomError(MISFIT, "does not fit", {"misfits": list(found)})


def unlike(expected: str) -> PydanticCustomError:
    """Error for the value at hand; `expected` continues the phrase "expected ..."."""
    return misfit(((), expected))


def whole(low: int, high: int, unit: str = "") -> BeforeValidator:
    """An integer from `low` to `high`, both included."""

    def check(value: object) -> int:
        if type(value) is not int or not low <= value <= high:  # bool is an int to isinstance
            raise unlike(f"an integer between {low} and {high}" + (f" ({unit})" if unit else ""))
        return value

    return BeforeValidator(check)


def power_of_two(low: int, high: int) -> BeforeValidator:
    """A power of two from `low` to `high`, both included: the kernel masks ring positions."""

    def check(value: object) -> int:
        if type(value) is not int or not low <= value <= high or value & (value - 1):
            raise unlike(f"a power of two between {low} and {high}")
        return value

    return BeforeValidator(check)


def decimal(low: float, high: float, unit: str) -> BeforeValidator:
    """A number from `low` to `high`, both included; fractions are welcome."""

    def check(value: object) -> float:
        if type(value) not in {int, float} or not low <= float(str(value)) <= high:
            raise unlike(f"a number between {low:g} and {high:g} ({unit})")
        return float(str(value))

    return BeforeValidator(check)


def seconds(low: float, high: float) -> BeforeValidator:
    """A duration in seconds; fractions are welcome."""

    def check(value: object) -> float:
        if type(value) not in {int, float} or not low <= float(str(value)) <= high:
            raise unlike(f"seconds between {low:g} and {high:g}")
        return float(str(value))

    return BeforeValidator(check)


def counted(low: int, high: int, what: str) -> BeforeValidator:
    """An array of `low` to `high` elements, which are checked one by one afterwards."""

    def check(value: object) -> object:
        if isinstance(value, tuple) or (isinstance(value, list) and low <= len(value) <= high):
            return value
        raise unlike(f"an array of {low} to {high} {what}")

    return BeforeValidator(check)


def text(pattern: str, expected: str) -> BeforeValidator:
    """A string that matches `pattern` as a whole."""
    whole_pattern = re.compile(pattern)

    def check(value: object) -> str:
        if not isinstance(value, str) or not whole_pattern.fullmatch(value):
            raise unlike(expected)
        return value

    return BeforeValidator(check)


def parsed(kind: type[T], parse: Callable[[str], T], expected: str) -> BeforeValidator:
    """A `kind`, which TOML has as a string that `parse` refuses with a ValueError if it is wrong.

    A `kind` made by our own code goes through the same checks.
    """

    def check(value: object) -> T:
        if not isinstance(value, str | kind):
            raise unlike(expected)
        try:
            return parse(str(value))
        except ValueError:
            raise unlike(expected) from None

    return BeforeValidator(check)
