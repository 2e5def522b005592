"""What must be faster than what, measured: the only test of speed, with wide bounds."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from perf import ratios
from tests.perf.resultsfiles import figure

if TYPE_CHECKING:
    from collections.abc import Sequence

    from perf.figures import Figure


@pytest.mark.usefixtures("untraced")  # a traced numpy engine would make the compiled one look good
def test_the_compiled_pass_is_faster_and_a_million_bindings_are_no_burden() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "perf", "ratios", "--json"],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    works = {json.loads(line)["work"] for line in done.stdout.splitlines()}
    assert works == {ratio.name for ratio in ratios.ratios()}


def test_a_bound_that_is_missed(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    checked = ratios.ratios()

    def measure(of: Sequence[ratios.Ratio], runs: int) -> list[Figure]:
        assert (list(of), runs) == (checked, 2)
        good = [figure(each.name, "times", each.least) for each in of]
        slow = figure(checked[1].name, "times", 0.1, 0.2, 99)
        return [good[0], slow, *good[2:]]

    monkeypatch.setattr(ratios, "measure", measure)
    monkeypatch.setattr("os.sched_setaffinity", lambda *_: None)
    assert ratios.main(["--json", "--runs", "2"]) == 1
    assert capsys.readouterr().err == (
        f"perf ratios: {checked[1].name}: 0.20 times as fast, expected {checked[1].least} or more\n"
    )
