from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from dstmrouter.jit import cache

if TYPE_CHECKING:
    from pathlib import Path

TURN = "daemon/compiled/turn.py"


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("pipeline/verdict.py", "wire/ipv4.py", "io/blockring.py", TURN, "leases/book.py"):
        file = tmp_path / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text("x = 1\n")
    monkeypatch.setattr(cache, "_PACKAGE", tmp_path)
    return tmp_path


@pytest.mark.parametrize("name", ["pipeline/verdict.py", "wire/ipv4.py", "io/blockring.py", TURN])
def test_code_that_was_compiled_from_other_sources_is_not_found(package: Path, name: str) -> None:
    before = cache.directory()
    assert cache.directory() == before
    (package / name).write_text("x = 2\n")
    assert cache.directory() != before


def test_what_is_not_compiled_does_not_matter(package: Path) -> None:
    before = cache.directory()
    (package / "leases/book.py").write_text("x = 2\n")
    assert cache.directory() == before


@pytest.mark.parametrize(
    ("writable", "expected"),
    [
        ({"systemd", "package", "home"}, "systemd"),
        ({"package", "home"}, "package/jit/__pycache__"),
        ({"home"}, "home/.cache/dstmrouter"),
        (set(), None),
    ],
)
def test_the_first_place_that_can_be_written_is_taken(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, writable: set[str], expected: str | None
) -> None:
    for name in ("systemd", "package", "home"):
        (tmp_path / name).touch()  # no directory can be made below a file
    for name in writable:
        (tmp_path / name).unlink()
    monkeypatch.setattr(cache, "_PACKAGE", tmp_path / "package")
    monkeypatch.setenv(cache.CACHE_VARIABLE, str(tmp_path / "systemd"))
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    found = cache.directory()
    assert (found and found.parent) == (None if expected is None else tmp_path / expected)


def test_it_is_known_whether_there_is_anything_to_load(package: Path) -> None:
    assert not cache.is_filled()
    found = cache.directory()
    assert found is not None
    assert found == package / "jit" / "__pycache__" / found.name
    code = found / "burst_0" / "burst.forward-1.py311.nbi"
    code.parent.mkdir()
    code.touch()
    assert cache.is_filled()
    (package / "wire/ipv4.py").write_text("x = 2\n")
    assert not cache.is_filled()


def test_code_that_nobody_asks_for_any_more_goes(package: Path) -> None:
    first = cache.directory()
    assert first is not None
    month = 31 * 24 * 3600
    (first / "code.nbi").touch()
    (package / "wire/ipv4.py").write_text("x = 2\n")
    second = cache.directory()
    assert second is not None
    assert first.exists(), "a month has not passed"
    now = first.stat().st_mtime
    for old in (first, second):
        os.utime(old, (now - month, now - month))
    assert cache.directory() == second
    assert second.exists()
    assert not first.exists()
    assert second.stat().st_mtime >= now
