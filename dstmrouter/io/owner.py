"""What must be let go at the end: descriptors, maps, programs, devices, namespaces."""

from __future__ import annotations

import abc
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from contextlib import ExitStack
    from types import TracebackType


class Closing(abc.ABC):
    """A context manager that is closed behind the block, whatever becomes of that."""

    @abc.abstractmethod
    def close(self) -> None:
        """Let go of everything; harmless when repeated."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


class Owner(Closing):
    """The same for what lets go what stands in `_undo`."""

    _undo: ExitStack

    def close(self) -> None:
        """Let go of everything; harmless when repeated."""
        self._undo.close()
