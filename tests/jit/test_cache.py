from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from dstmrouter.jit import cache

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("pipeline/verdict.py", "wire/ipv4.py", "io/blockring.py", "leases/book.py"):
        file = tmp_path / name
        file.parent.mkdir(exist_ok=True)
        file.write_text("x = 1\n")
    monkeypatch.setattr(cache, "_PACKAGE", tmp_path)
    return tmp_path


@pytest.mark.parametrize("name", ["pipeline/verdict.py", "wire/ipv4.py", "io/blockring.py"])
def test_code_that_was_compiled_from_other_sources_is_not_found(package: Path, name: str) -> None:
    before = cache.directory()
    assert cache.directory() == before
    (package / name).write_text("x = 2\n")
    assert cache.directory() != before


def test_what_is_not_compiled_does_not_matter(package: Path) -> None:
    before = cache.directory()
    (package / "leases/book.py").write_text("x = 2\n")
    assert cache.directory() == before


def test_a_package_that_cannot_be_written_has_its_cache_elsewhere(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(os, "access", lambda *_: False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache.directory().parent == tmp_path / "dstmrouter"
