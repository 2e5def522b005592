"""Waiting for the kernel to finish with what a killed predecessor held."""

from __future__ import annotations

import errno
import time
from typing import TYPE_CHECKING, Final, TypeVar

from dstmrouter.errors import SystemCallError

if TYPE_CHECKING:
    from collections.abc import Callable

Result = TypeVar("Result")

BUSY_PATIENCE_S: Final = 1.0  # the kernel frees sockets and links of a dead process a little later
_PAUSE_S: Final = 0.02


def while_busy(attempt: Callable[[], Result], patience_s: float = BUSY_PATIENCE_S) -> Result:
    """Return what `attempt` returns, repeating it while it fails with EBUSY."""
    deadline = time.monotonic() + patience_s
    while True:
        try:
            return attempt()
        except SystemCallError as error:
            if error.errno != errno.EBUSY or time.monotonic() >= deadline:
                raise
        time.sleep(_PAUSE_S)
