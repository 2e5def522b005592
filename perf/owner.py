"""What owns something that must be let go: namespaces, programs, maps."""

from __future__ import annotations

from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from contextlib import ExitStack
    from types import TracebackType


class Owner:
    """A context manager that lets go what stands in `_undo`."""

    _undo: ExitStack

    def close(self) -> None:
        """Let go of everything; harmless when repeated."""
        self._undo.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()
