"""What a results file tells of the machine."""

from __future__ import annotations

import shutil
import subprocess
from typing import TYPE_CHECKING

import numpy as np
import pytest

from perf.environment import Begun, caches, commit, cpu_fields, describe, versions

if TYPE_CHECKING:
    from pathlib import Path

CPUINFO = """\
processor\t: 0
model name\t: Some CPU @ 3.00GHz
flags\t\t: fpu hypervisor

processor\t: 1
model name\t: Another
"""


def test_the_first_processor_counts() -> None:
    fields = cpu_fields(CPUINFO)
    assert fields["model name"] == "Some CPU @ 3.00GHz"
    assert "hypervisor" in fields["flags"].split()


def test_caches_are_named_by_level_and_kind(tmp_path: Path) -> None:
    for number, words in enumerate([("1", "Data", "32K"), ("2", "Unified", "1024K")]):
        index = tmp_path / f"index{number}"
        index.mkdir()
        for name, word in zip(("level", "type", "size"), words, strict=True):
            (index / name).write_text(word + "\n")
    assert caches(tmp_path) == {"L1d": "32K", "L2": "1024K"}
    assert caches(tmp_path / "nothing") == {}


def test_everything_is_described() -> None:
    found = describe(Begun.now(), ["perf", "wire"], {"runs": 3, "ios": ("afxdp",), "io": None})
    assert found["command"] == ["perf", "wire"]
    assert found["options"] == {"runs": 3, "ios": "('afxdp',)", "io": None}
    assert found["date"].endswith("+00:00")
    assert found["seconds"] >= 0
    assert len(found["load"]["before"]) == len(found["load"]["after"]) == 3
    machine = found["machine"]
    assert machine["cpu"]
    assert machine["memory_mib"] > 0
    assert isinstance(machine["hypervisor"], bool)
    assert found["versions"]["numpy"] == np.__version__


def test_versions_of_what_is_measured() -> None:
    assert {"python", "numpy", "numba", "dstmrouter", "commit"} <= set(versions())


@pytest.mark.skipif(shutil.which("git") is None, reason="needs git")
def test_a_commit_with_changes_has_a_plus(tmp_path: Path) -> None:
    assert commit(tmp_path) == ""  # no checkout
    who = ("-c", "user.name=n", "-c", "user.email=e@example.org")
    (tmp_path / "file").write_text("one")
    for words in (("init", "--quiet"), ("add", "file"), (*who, "commit", "--quiet", "-m", "m")):
        subprocess.run(["git", "-C", tmp_path, *words], check=True)
    clean = commit(tmp_path)
    assert len(clean) == 12
    (tmp_path / "file").write_text("two")
    assert commit(tmp_path) == clean + "+"
