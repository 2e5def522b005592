from __future__ import annotations

from typing import Any, get_args

import pytest

from dstmrouter.errors import DecodeError
from dstmrouter.zmqctl import fields


@pytest.mark.parametrize(
    ("field", "good", "bad"),
    [
        (fields.Count, [0, 2**63 - 1], [-1, 2**63, True, 1.0, "1", None]),
        (fields.Id, [2**53 - 1], [2**53]),
        (fields.Part, [0, 65535], [65536]),
        (fields.Parts, [1, 65536], [0, 65537]),
        (fields.Epoch, [bytes(16)], [b"", bytes(15), bytes(17), "x" * 16]),
        (fields.StoreId, [b"", bytes(16)], [bytes(17), None]),
        (fields.Name, ["a", "gw1.example:1@x", "x" * 64], ["", "x" * 65, "a b", "\u00e9", b"a"]),
        (fields.Word, ["lease.grant"], ["a:b", ""]),
        (fields.Line, ["", "two\nlines", "x" * 2000], ["x" * 2001]),
        (fields.Flag, [True, False], [0, 1, None]),
        (fields.Map, [{}, {"a": 1}], [{1: 2}, [], None]),
        (fields.Counts, [{}, {"a": 2**63 - 1}], [{"a": -1}, {"a": True}, {1: 1}]),
    ],
)
def test_values_in_and_out_of_range(field: Any, good: list[Any], bad: list[Any]) -> None:
    check = get_args(field)[1]
    assert [check(value) for value in good] == good
    for value in bad:
        with pytest.raises(DecodeError):
            check(value)
