"""Inputs near to valid ones: a seed, changed a few times in ways that parsers dislike."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    import random
    from collections.abc import Callable, Sequence

LONGEST: Final = 4096  # octets
CHANGES: Final = 4
WORDS: Final = [
    number.to_bytes(4, "big")
    for number in (0, 1, 2, 4, 16, 17, 128, 129, 255, 256, 400, 401, 0x7FFFFFFF, 0x80000000)
] + [b"\xff\xff\xff\xff", b"\x80\x00\x00\x00", b"\x7f\xff\xff\xfc"]


def flip(octets: bytearray, dice: random.Random) -> None:
    """One bit."""
    octets[dice.randrange(len(octets))] ^= 1 << dice.randrange(8)


def overwrite(octets: bytearray, dice: random.Random) -> None:
    """A number of 32 bits, where XDR has them, with one that is on the edge of something."""
    at = 4 * dice.randrange(-(-len(octets) // 4))
    octets[at : at + 4] = dice.choice(WORDS)


def cut(octets: bytearray, dice: random.Random) -> None:
    """Some octets, taken out."""
    at = dice.randrange(len(octets))
    del octets[at : at + dice.randrange(1, 9)]


def insert(octets: bytearray, dice: random.Random) -> None:
    """Some octets, put in."""
    at = dice.randrange(len(octets) + 1)
    octets[at:at] = dice.randbytes(dice.randrange(1, 9))


def truncate(octets: bytearray, dice: random.Random) -> None:
    """The end, taken away."""
    del octets[dice.randrange(len(octets)) :]


def repeat(octets: bytearray, dice: random.Random) -> None:
    """A part of it, put at the end."""
    at = dice.randrange(len(octets))
    octets += octets[at : at + dice.randrange(1, 65)]


WAYS: Final[Sequence[Callable[[bytearray, random.Random], None]]] = (
    flip,
    overwrite,
    cut,
    insert,
    truncate,
    repeat,
)


def mutated(seed: bytes, dice: random.Random) -> bytes:
    """`seed` after one to CHANGES changes."""
    octets = bytearray(seed)
    for _ in range(dice.randint(1, CHANGES)):
        if octets:
            dice.choice(WAYS)(octets, dice)
    return bytes(octets[:LONGEST])
