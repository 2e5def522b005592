"""Something to feed, and the feeding of it."""

from __future__ import annotations

import dataclasses
import random
from typing import TYPE_CHECKING, Protocol

from tests.fuzz.mutation import mutated

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence


class FuzzError(Exception):
    """An input that was not handled; the text has it in hexadecimal digits."""


class Fuzzed(Protocol):
    """Whatever can be fed with inputs of its own making."""

    @property
    def name(self) -> str:
        """For the command line."""
        ...

    def run(self, inputs: int, seed: int) -> None:
        """Feed `inputs`; FuzzError for what is not handled."""
        ...


@dataclasses.dataclass(frozen=True, slots=True)
class Target:
    """`check` takes any octets and must not raise; `seeds` are valid ones."""

    name: str
    seeds: Sequence[bytes]
    check: Callable[[bytes], None]

    def run(self, inputs: int, seed: int) -> None:
        """Feed all seeds, then `inputs` changed ones; the same `seed` gives the same ones."""
        dice = random.Random(f"{self.name} {seed}")
        for octets in self.seeds:
            self._feed(octets)
        for _ in range(inputs):
            self._feed(mutated(dice.choice(self.seeds), dice))

    def _feed(self, octets: bytes) -> None:
        try:
            self.check(octets)
        except Exception as error:
            text = f"{self.name}: {octets.hex()}: {type(error).__name__}: {error}"
            raise FuzzError(text) from error
