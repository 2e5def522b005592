from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from dstmrouter.dti.counters import Counters, read_counters
from dstmrouter.dti.verdict import Verdict

if TYPE_CHECKING:
    from pathlib import Path


def test_another_reader_sees_what_was_counted(tmp_path: Path) -> None:
    path = tmp_path / "dti0.counters"
    with closing(Counters(path)) as counters:
        counters.count(Verdict.OUT_SENT, 100)
        counters.count(Verdict.OUT_SENT, 50)
        counters.count(Verdict.IN_REFUSED, 7)
        seen = read_counters(path)
        assert seen == counters.snapshot()
    assert seen["out_sent"] == {"packets": 2, "octets": 150}
    assert seen["in_refused"] == {"packets": 1, "octets": 7}
    assert seen["in_delivered"] == {"packets": 0, "octets": 0}


def test_a_new_run_counts_from_zero(tmp_path: Path) -> None:
    path = tmp_path / "dti0.counters"
    with closing(Counters(path)) as counters:
        counters.count(Verdict.OUT_SENT, 100)
    with closing(Counters(path)):
        assert read_counters(path)["out_sent"]["packets"] == 0


def test_a_file_of_another_version_is_refused(tmp_path: Path) -> None:
    (tmp_path / "c").write_bytes(bytes(8))
    with pytest.raises(OSError, match="8 octets"):
        read_counters(tmp_path / "c")


def test_without_a_file_and_closed_twice() -> None:
    counters = Counters()
    counters.count(Verdict.IN_DELIVERED, 1)
    assert counters.snapshot()["in_delivered"]["packets"] == 1
    counters.close()
    counters.close()
