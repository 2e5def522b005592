from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from dstmrouter.dti import module
from dstmrouter.dti.module import load_module

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def modprobe(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    monkeypatch.setenv("PATH", f"{tmp_path}:/bin:/usr/bin")
    monkeypatch.setattr(module, "SBIN", str(tmp_path))
    return tmp_path / "modprobe"


def write(file: Path, script: str) -> None:
    file.write_text(f"#!/bin/sh\n{script}\n")
    file.chmod(0o755)


def test_it_is_asked_for_by_name(modprobe: Path) -> None:
    write(modprobe, 'echo "$@" >"$0.asked"')
    assert load_module() is None
    assert modprobe.with_suffix(".asked").read_text() == "ip6_tunnel\n"


def test_why_there_is_none(modprobe: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(modprobe, "echo 'modprobe: FATAL: Module ip6_tunnel not found' >&2; exit 1")
    assert load_module() == "FATAL: Module ip6_tunnel not found"
    write(modprobe, "exit 3")
    assert load_module() == "exit code 3"
    modprobe.write_text("no program")
    assert "Exec format error" in str(load_module())
    monkeypatch.setattr(module, "PROGRAM", "no-modprobe")
    assert load_module() == "there is no program no-modprobe (Debian package kmod)"
