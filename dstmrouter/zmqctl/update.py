"""What a feed or a push asks of the binding table, and what came of it."""

from __future__ import annotations

import dataclasses
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from dstmrouter.binding import BindingColumns


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class BindingUpdate:
    """Changes of the bindings that `source` owns; no (address, PSID) occurs twice in it.

    A change stands alone (`replace` false, `first` and `last` true). A snapshot (`replace` true)
    comes as parts in order, `first` to `last`; each of its rows takes effect with its part, and
    after the last one the rows of `source` that no part held must go. A part with `first` before
    the `last` of the one before it abandons that snapshot.
    """

    source: str
    replace: bool
    columns: BindingColumns
    epoch: bytes  # of the server's run; empty for a push
    generation: int
    first: bool = True
    last: bool = True
    server: str = ""  # which of the servers of this source
    store: bytes = b""  # id of the store that servers of this source share; empty: they share none
    version: int = 0  # of that store, at which the columns are true

    def __post_init__(self) -> None:
        assert self.replace or (self.first and self.last), "only snapshots come in parts"


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class ApplyResult:
    """Counts of one update, in rows, and how many rows the source owns now."""

    applied: int
    refused: int
    rows: int
    reasons: dict[str, int] = dataclasses.field(default_factory=dict)  # refused rows by reason


Apply: TypeAlias = Callable[[BindingUpdate], Awaitable[ApplyResult]]
"""Returns once the rows are published and every worker has passed a quiescent point."""
