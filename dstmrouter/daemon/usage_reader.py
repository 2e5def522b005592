"""Usage of bindings as columns of a message: of those that last, and of those that have ended."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from dstmrouter.zmqctl.usage_columns import UsageColumns

if TYPE_CHECKING:
    import numpy.typing as npt

    from dstmrouter.pipeline.binding_writer import BindingWriter
    from dstmrouter.pipeline.bindings import BindingTable
    from dstmrouter.pipeline.usage_book import UsageBook


class UsageReader:
    """Reads the supervisor's tables; changes nothing."""

    def __init__(self, bindings: BindingTable, writer: BindingWriter, book: UsageBook) -> None:
        self._bindings = bindings
        self._writer = writer
        self._book = book

    def lasting(self, places: npt.NDArray[np.uint32]) -> UsageColumns:
        """What the bindings in `places`, shape (n,), have used so far."""
        rows = self._bindings.slots[places]
        records = self._bindings.numbered(rows)
        owners, names = self._writer.owners(places)
        known, source = np.unique(owners, return_inverse=True)
        return UsageColumns(
            account=self._book.accounts(rows),
            ipv4=records["ipv4"],
            client6=records["client6"],
            psid_offset=records["psid_offset"],
            psid_len=records["psid_len"],
            psid=self._bindings.psids(places).astype(np.uint16),
            usage=self._book.of(rows),
            source=source.astype(np.uint16),
            sources=tuple(names.get(owner, "") for owner in known.tolist()),
        )

    def ended(self, after: int, limit: int) -> tuple[int, UsageColumns]:
        """What those had used that have ended since entry `after`: see `UsageBook.list_ended`."""
        first, entries = self._book.list_ended(after, limit)
        known, source = np.unique(entries["source"], return_inverse=True)
        return first, UsageColumns(
            account=entries["account"],
            ipv4=entries["ipv4"],
            client6=entries["client6"],
            psid_offset=entries["psid_offset"],
            psid_len=entries["psid_len"],
            psid=entries["psid"],
            usage=entries["usage"],
            source=source.astype(np.uint16),
            sources=tuple(map(self._book.source_name, known.tolist())),
            until=entries["until"],
        )
