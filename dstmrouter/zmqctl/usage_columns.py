"""Usage of bindings inside an answer: one binary string per column, big-endian.

The map has the keys `n`, `account`, `ipv4`, `client6`, `psid_offset`, `psid_len`, `psid`, those of
USAGE_FIELDS, `source` (positions in `sources`, a list of names) and, of bindings that have ended,
`until`. A peer may send any bytes: `unpack_usage` returns columns of one length, or refuses.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt

from dstmrouter.binding import USAGE_FIELDS
from dstmrouter.errors import DecodeError

if TYPE_CHECKING:
    from dstmrouter.binding import Words6

USAGE_ROWS_MAX: Final = 16_384  # rows of one answer: 1 MB
_WIRE_DTYPES: Final = {
    "account": ">u8",
    "ipv4": ">u4",
    "client6": "V16",
    "psid_offset": "u1",
    "psid_len": "u1",
    "psid": ">u2",
    "source": ">u2",
    **dict.fromkeys(USAGE_FIELDS, ">u8"),
}
_UNTIL: Final = ">u8"
_MS: Final = 1000


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class UsageColumns:
    """What n bindings have had carried."""

    account: npt.NDArray[np.uint64]  # no two bindings of an epoch have the same
    ipv4: npt.NDArray[np.uint32]
    client6: Words6  # (n, 2)
    psid_offset: npt.NDArray[np.uint8]  # bits
    psid_len: npt.NDArray[np.uint8]  # bits; 0: the whole address
    psid: npt.NDArray[np.uint16]
    usage: npt.NDArray[np.uint64]  # (n, 4), in the order of USAGE_FIELDS
    source: npt.NDArray[np.uint16]  # positions in `sources`
    sources: tuple[str, ...]
    until: npt.NDArray[np.float64] | None = None  # seconds since 1970; None: they have not ended

    def __len__(self) -> int:
        return len(self.ipv4)

    def take(self, rows: npt.NDArray[np.intp] | slice) -> UsageColumns:
        """The bindings at `rows`, with the same `sources`."""
        columns = {
            field.name: getattr(self, field.name)[rows]
            for field in dataclasses.fields(self)
            if field.name not in {"sources", "until"}
        }
        until = None if self.until is None else self.until[rows]
        return UsageColumns(**columns, sources=self.sources, until=until)


def pack_usage(columns: UsageColumns) -> dict[str, Any]:
    """Return the map of `columns`; at most USAGE_ROWS_MAX rows."""
    assert len(columns) <= USAGE_ROWS_MAX
    packed: dict[str, Any] = {"n": len(columns), "sources": list(columns.sources)}
    for name in ("account", "ipv4", "psid_offset", "psid_len", "psid", "source"):
        packed[name] = getattr(columns, name).astype(_WIRE_DTYPES[name]).tobytes()
    packed["client6"] = np.ascontiguousarray(columns.client6).tobytes()
    for number, name in enumerate(USAGE_FIELDS):
        packed[name] = columns.usage[:, number].astype(_WIRE_DTYPES[name]).tobytes()
    if columns.until is not None:
        packed["until"] = (columns.until * _MS).astype(_UNTIL).tobytes()
    return packed


def unpack_usage(packed: object) -> UsageColumns:
    """Return the columns of a map; DecodeError names what is wrong."""
    if not isinstance(packed, dict):
        raise DecodeError("usage: expected a map")
    n = packed.get("n")
    if type(n) is not int or not 0 <= n <= USAGE_ROWS_MAX:
        raise DecodeError(f"usage: n is no number from 0 to {USAGE_ROWS_MAX}")
    column = {name: _column(packed, name, dtype, n) for name, dtype in _WIRE_DTYPES.items()}
    sources = packed.get("sources")
    if not isinstance(sources, list) or not all(isinstance(name, str) for name in sources):
        raise DecodeError("usage: sources is no list of names")
    if (column["source"] >= len(sources)).any():
        raise DecodeError("usage: source points behind the end of sources")
    ended = "until" in packed
    return UsageColumns(
        account=column["account"].astype(np.uint64),
        ipv4=column["ipv4"].astype(np.uint32),
        client6=column["client6"].view("<u8").reshape(n, 2),
        psid_offset=column["psid_offset"],
        psid_len=column["psid_len"],
        psid=column["psid"].astype(np.uint16),
        usage=np.stack([column[name].astype(np.uint64) for name in USAGE_FIELDS], axis=1),
        source=column["source"].astype(np.uint16),
        sources=tuple(sources),
        until=_column(packed, "until", _UNTIL, n) / _MS if ended else None,
    )


def unpack_ended(packed: object) -> UsageColumns:
    """The same of bindings that have ended: `until` must be there."""
    columns = unpack_usage(packed)
    if columns.until is None:
        raise DecodeError("usage: until is missing")
    return columns


def _column(packed: dict[str, Any], name: str, dtype: str, n: int) -> npt.NDArray[Any]:
    octets, raw = n * np.dtype(dtype).itemsize, packed.get(name)
    if not isinstance(raw, bytes) or len(raw) != octets:
        raise DecodeError(f"usage: column {name} is not {octets} octets for {n} rows")
    return np.frombuffer(raw, dtype)
