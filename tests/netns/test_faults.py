"""One fault of every kind, on machines of their own, with real clients: nothing is lost."""

from __future__ import annotations

import re
import subprocess
import sys

import pytest

from lab.faults.plan import Kind

pytestmark = [pytest.mark.netns, pytest.mark.usefixtures("untraced")]
PATIENCE_S = 300.0  # 40 s alone
MUST_BE_NONE = ("two holders", "did not have", "without its address", "forwarding stopped")


def test_nothing_is_lost_over_one_fault_of_every_kind() -> None:
    command = [sys.executable, "-m", "lab.faults", "--faults", str(len(Kind)), "--seed", "3"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE_S, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    figures = {
        words: int(number)
        for number, words in re.findall(r"^ *(\d+)  (.+)$", done.stdout, re.MULTILINE)
    }

    def figure(part: str) -> int:
        [found] = [number for words, number in figures.items() if part in words]
        return found

    assert figure("all repaired") == len(Kind)
    assert figure("granted to guests") >= len(Kind)
    assert figure("datagrams sent") > figure("while their own router was dead") > 0
    assert [figure(words) for words in MUST_BE_NONE] == [0, 0, 0, 0]
