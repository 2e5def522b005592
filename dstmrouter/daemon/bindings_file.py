"""Bindings from a CSV file, for `dstm-router replay`."""

from __future__ import annotations

import csv
import dataclasses
from ipaddress import AddressValueError, IPv4Address, IPv6Address
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from dstmrouter.binding import LIFETIME_FOREVER, full_address_columns, words6
from dstmrouter.errors import DstmError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from dstmrouter.binding import BindingColumns

_COLUMNS: Final = ("ipv4", "client6")
_MORE: Final = "[,tep6][,psid_offset,psid_len,psid]"
_PORT_BITS: Final = 16  # RFC 7597 section 5.1


@dataclasses.dataclass(slots=True)
class _Row:
    ipv4: int
    client6: IPv6Address
    tep: int
    port_set: tuple[int, int, int]  # psid_offset, psid_len, psid


def read_bindings(path: Path, tep6: Sequence[IPv6Address]) -> BindingColumns:
    """Read a CSV file with the columns ipv4, client6 and optionally tep6 and a port set.

    `psid_offset`, `psid_len` and `psid` are numbers (RFC 7597 section 5.1); empty is 0, and a
    psid_len of 0 the whole address. Raises DstmError with file and line for whatever is not an
    address, not one of `tep6` or no port set.
    """
    rows: list[_Row] = []
    try:
        with path.open(newline="", encoding="utf-8") as file:
            reader = csv.DictReader(file)
            if missing := [name for name in _COLUMNS if name not in (reader.fieldnames or ())]:
                expected = ",".join(_COLUMNS) + _MORE
                raise DstmError(f"{path}:1: no column {missing[0]}, expected {expected}")
            rows += [_row(line, tep6, f"{path}:{reader.line_num}") for line in reader]
    except OSError as error:
        raise DstmError(f"{path}: {error.strerror}") from error
    except (csv.Error, UnicodeDecodeError) as error:
        raise DstmError(f"{path}: {error}") from error
    columns = full_address_columns(
        np.array([row.ipv4 for row in rows], np.uint32),
        words6([row.client6 for row in rows]),
        lifetime_s=LIFETIME_FOREVER,
        tep6=tep6,
        tep=np.array([row.tep for row in rows], np.uint8),
    )
    sets = np.array([row.port_set for row in rows], np.int64).reshape(-1, 3)
    return dataclasses.replace(
        columns,
        psid_offset=sets[:, 0].astype(np.uint8),
        psid_len=sets[:, 1].astype(np.uint8),
        psid=sets[:, 2].astype(np.uint16),
    )


def _row(line: Mapping[str, str | None], tep6: Sequence[IPv6Address], where: str) -> _Row:
    return _Row(
        int(_address(IPv4Address, line["ipv4"], where)),
        _address(IPv6Address, line["client6"], where),
        _tep(line.get("tep6"), tep6, where),
        _port_set(line, where),
    )


def _address(kind: type[Any], text: str | None, where: str) -> Any:
    try:
        return kind((text or "").strip())
    except AddressValueError:
        name = kind.__name__.removesuffix("Address")
        raise DstmError(f"{where}: {text!r}: expected an {name} address") from None


def _tep(text: str | None, tep6: Sequence[IPv6Address], where: str) -> int:
    if not text:
        return 0
    address = _address(IPv6Address, text, where)
    if address not in tep6:
        raise DstmError(f"{where}: {address}: expected one of {', '.join(map(str, tep6))}")
    return list(tep6).index(address)


def _port_set(line: Mapping[str, str | None], where: str) -> tuple[int, int, int]:
    offset, length = (
        _number(line, name, _PORT_BITS, where) for name in ("psid_offset", "psid_len")
    )
    if offset + length > _PORT_BITS:
        raise DstmError(f"{where}: psid_offset + psid_len = {offset + length}: expected 16 at most")
    return offset, length, _number(line, "psid", (1 << length) - 1, where)


def _number(line: Mapping[str, str | None], name: str, most: int, where: str) -> int:
    text = (line.get(name) or "0").strip()
    if not (text.isascii() and text.isdigit() and len(text) <= len("65535") and int(text) <= most):
        raise DstmError(f"{where}: {name} = {text!r}: expected a number from 0 to {most}")
    return int(text)
