"""How long to wait before a server that did not help is asked again."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

FIRST_S: Final = 1.0
LONGEST_S: Final = 120.0
JITTER: Final = 0.1  # of the delay, both ways: hosts that came up together do not stay in step
HINT_LONGEST_S: Final = 600.0  # what a server may ask for; it must not be able to silence a client


class Backoff:
    """Delays of 1, 2, 4 ... 120 s, each 10 % longer or shorter by chance."""

    def __init__(self, random: Callable[[], float]) -> None:
        """`random` returns numbers from 0 to 1, as `random.random` does."""
        self._random = random
        self._next_s = FIRST_S

    def reset(self) -> None:
        """Begin anew: something worked."""
        self._next_s = FIRST_S

    def give_up(self) -> None:
        """A plain no: the next delay is the longest."""
        self._next_s = LONGEST_S

    def delay_s(self, hint_s: float | None = None) -> float:
        """The next delay, not below the server's wish `hint_s` as long as that is sensible."""
        delay = self._next_s
        self._next_s = min(2 * self._next_s, LONGEST_S)
        wish = min(hint_s or 0.0, HINT_LONGEST_S)
        return max(delay * (1 + JITTER * (2 * self._random() - 1)), wish)
