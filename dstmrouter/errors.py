"""The errors that users and callers see; every layer may raise and import them.

Whatever a peer or a file sends wrong is a `DstmError` with one readable line. A mistake of our own
is an `AssertionError` and stops the process.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator


class DstmError(Exception):
    """Root of all expected errors; `str()` is one line for people."""


class ConfigError(DstmError):
    """A configuration file, option or environment that cannot be used; exit code 2."""


class DecodeError(DstmError):
    """Bytes of a peer that do not follow the protocol."""


class SystemCallError(DstmError):
    """The kernel refused: what was tried, on what, and what it answered."""

    def __init__(self, tried: str, number: int, reason: str) -> None:
        super().__init__(f"{tried}: {reason}")
        self.errno = number


@contextlib.contextmanager
def asking_kernel(tried: str) -> Iterator[None]:
    """Turn an OSError of the block into a SystemCallError."""
    try:
        yield
    except OSError as error:
        number = error.errno or 0  # if_nametoindex gives none, but a text
        raise SystemCallError(tried, number, error.strerror or str(error)) from error


class BpfVerifierError(SystemCallError):
    """The kernel's verifier refused a program; `log` is its report."""

    def __init__(self, tried: str, number: int, reason: str, log: str) -> None:
        super().__init__(tried, number, f"{reason}\n{log}")
        self.log = log


class LeaseError(DstmError):
    """A lease request that the rules refuse; `reason` is a short machine-readable word."""

    def __init__(self, reason: str, text: str) -> None:
        super().__init__(text)
        self.reason = reason


class ControlError(DstmError):
    """A control request that failed at the other side, or got no answer in time."""
