"""Binding columns inside a message: one binary string per column, big-endian where order matters.

The map has the keys `n`, `op`, `ipv4`, `client6`, `tep`, `tep6`, `lifetime_s` and, for shared
addresses (RFC 7597 section 5.1), `psid_offset`, `psid_len`, `psid`. A peer may send any bytes:
whatever `unpack_columns` returns has columns of one length and no value out of range.
"""

from __future__ import annotations

from ipaddress import IPv6Address
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from dstmrouter.binding import LIFETIME_FOREVER, OP_PUT, OP_REMOVE, BindingColumns, concatenate
from dstmrouter.errors import DecodeError

ROWS_MAX: Final = 65_536  # rows of one message: 2 MB of columns, a million leases in 16 messages
TEP6_MAX: Final = 255  # `tep` is one octet

_WIRE_DTYPES: Final = {
    "op": "u1",
    "ipv4": ">u4",
    "client6": "<u8",  # two words per row: the 16 octets as they are
    "tep": "u1",
    "psid_offset": "u1",
    "psid_len": "u1",
    "psid": ">u2",
    "lifetime_s": ">u4",
}
_PORT_SET_COLUMNS: Final = ("psid_offset", "psid_len", "psid")  # absent: whole addresses


def pack_columns(columns: BindingColumns) -> dict[str, Any]:
    """Return the message map of `columns`; at most ROWS_MAX rows."""
    assert len(columns) <= ROWS_MAX, "split larger sets with split_rows()"
    packed: dict[str, Any] = {"n": len(columns)}
    for name, dtype in _WIRE_DTYPES.items():
        packed[name] = getattr(columns, name).astype(dtype, copy=False).tobytes()
    packed["tep6"] = [address.packed for address in columns.tep6]
    return packed


def unpack_columns(packed: object) -> BindingColumns:
    """Return the columns of a message map; DecodeError names the column that is wrong."""
    if not isinstance(packed, dict):
        raise DecodeError("bindings: expected a map")
    n = packed.get("n")
    if type(n) is not int or not 0 <= n <= ROWS_MAX:
        raise DecodeError(f"bindings: n is no number from 0 to {ROWS_MAX}")
    column = {name: _unpack_column(packed, name, n) for name in _WIRE_DTYPES}
    columns = BindingColumns(
        op=column["op"],
        ipv4=column["ipv4"].astype(np.uint32),
        client6=column["client6"].reshape(n, 2),
        tep=column["tep"],
        psid_offset=column["psid_offset"],
        psid_len=column["psid_len"],
        psid=column["psid"].astype(np.uint16),
        lifetime_s=column["lifetime_s"].astype(np.uint32),
        tep6=_unpack_tep6(packed.get("tep6")),
    )
    _check_ranges(columns)
    return columns


def _unpack_column(packed: dict[str, Any], name: str, n: int) -> npt.NDArray[Any]:
    dtype = np.dtype(_WIRE_DTYPES[name])
    octets = n * dtype.itemsize * (2 if name == "client6" else 1)
    raw = packed.get(name)
    if raw is None and name in _PORT_SET_COLUMNS:
        return np.zeros(n, dtype)
    if not isinstance(raw, bytes) or len(raw) != octets:
        raise DecodeError(f"bindings: column {name} is not {octets} octets for {n} rows")
    return np.frombuffer(raw, dtype)


def _unpack_tep6(raw: object) -> tuple[IPv6Address, ...]:
    if not isinstance(raw, list) or len(raw) > TEP6_MAX:
        raise DecodeError(f"bindings: tep6 is no list of at most {TEP6_MAX} addresses")
    if not all(isinstance(item, bytes) and len(item) == 16 for item in raw):
        raise DecodeError("bindings: tep6 has an entry that is not 16 octets")
    return tuple(IPv6Address(item) for item in raw)


def _check_ranges(columns: BindingColumns) -> None:
    """DecodeError for a value that no reader of the columns could use."""
    if (columns.op > OP_PUT).any():
        raise DecodeError(f"bindings: op is neither {OP_REMOVE} nor {OP_PUT}")
    if (columns.tep[columns.op == OP_PUT] >= len(columns.tep6)).any():
        raise DecodeError("bindings: tep points behind the end of tep6")
    bits = columns.psid_len.astype(np.uint32)
    if (columns.psid_offset + bits > 16).any():  # RFC 7597 section 5.1: a + k <= 16
        raise DecodeError("bindings: psid_offset + psid_len is more than 16 bits")
    if (columns.psid >> bits).any():
        raise DecodeError("bindings: psid has more than psid_len bits")


def split_rows(columns: BindingColumns, rows: int) -> list[BindingColumns]:
    """Cut into sets of at most `rows` rows each, own copies; an empty set gives one empty part."""
    starts = range(0, max(len(columns), 1), rows)
    return [columns.take(np.arange(s, min(s + rows, len(columns)))) for s in starts]


def last_wins(columns: BindingColumns) -> BindingColumns:
    """Keep the last row of every (address, PSID), in order: the effect of applying one by one."""
    key = columns.ipv4.astype(np.uint64) << np.uint64(16) | columns.psid
    if (key[1:] > key[:-1]).all():  # strictly ascending, as snapshots come: nothing is double
        return columns
    _, from_end = np.unique(key[::-1], return_index=True)
    return columns.take(np.sort(len(key) - 1 - from_end))


def join_in_order(parts: list[BindingColumns]) -> BindingColumns:
    """One set with the effect of applying `parts`, which share a tep6 list, one after the other."""
    return last_wins(parts[0] if len(parts) == 1 else concatenate(parts))


def aged(columns: BindingColumns, seconds: int) -> BindingColumns:
    """Take `seconds` off all lifetimes; bindings that are over by then are left out."""
    forever = columns.lifetime_s == LIFETIME_FOREVER
    left = columns.lifetime_s - np.minimum(columns.lifetime_s, np.uint32(seconds))
    left[forever] = LIFETIME_FOREVER
    fresh = {name: getattr(columns, name) for name in _WIRE_DTYPES} | {"lifetime_s": left}
    kept = np.flatnonzero((left > 0) | (columns.op == OP_REMOVE))
    aged_columns = BindingColumns(**fresh, tep6=columns.tep6)
    return aged_columns if len(kept) == len(columns) else aged_columns.take(kept)
