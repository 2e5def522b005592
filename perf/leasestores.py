"""The stores of a lease server that is measured: on this machine, and waiting for its disk."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Final, TypeAlias

from lab.postgres import running

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager
    from pathlib import Path

NewStore: TypeAlias = "Callable[[str], str]"
"""Takes a name and gives the section of the configuration for an empty store of that name."""


@contextlib.contextmanager
def sqlite(directory: Path) -> Iterator[NewStore]:
    """Files in `directory`."""
    yield lambda name: f'[store]\npath = "{directory / name}.sqlite"\n'


@contextlib.contextmanager
def postgresql(_directory: Path) -> Iterator[NewStore]:
    """Databases of a server that runs while the block does, without a CPU of its own."""
    with running(durable=True) as server:
        yield lambda _name: f'[store]\npostgresql = "{server.database()}"\n'


STORES: Final[dict[str, Callable[[Path], AbstractContextManager[NewStore]]]] = {
    "sqlite": sqlite,
    "postgresql": postgresql,
}
