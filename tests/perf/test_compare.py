"""Comparing results: which way is better, what is missing, what fails."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from perf.compare import main
from tests.perf.resultsfiles import QUIET, figure, results_file

if TYPE_CHECKING:
    from pathlib import Path

    from perf.figures import Figure

BASE = [
    figure("encap", "Mpps", 10, 9, 11),
    figure("encap", "ns/packet", 100, 90, 110),
    figure("encap: lost", "Mpps", 0.2),
    figure("encap: offered", "Mpps", 4),
]


def changed(number: int, *runs: float) -> list[Figure]:
    """BASE with other runs of one figure."""
    old = BASE[number]
    return [*BASE[:number], figure(old.work, old.unit, *runs), *BASE[number + 1 :]]


@pytest.fixture
def base(tmp_path: Path) -> str:
    return str(results_file(tmp_path / "base.json", BASE))


def exit_code(*words: str) -> int:
    return main(words)


@pytest.mark.parametrize(
    ("figures", "code"),
    [
        (BASE, 0),
        (changed(0, 8), 1),
        (changed(0, 9.5), 0),
        (changed(0, 20), 0),
        (changed(1, 125), 1),  # nanoseconds: more is worse
        (changed(1, 50), 0),
        (changed(2, 0.3), 1),  # lost packets: though their unit is that of forwarded ones
        (changed(3, 1), 0),  # offered ones: neither good nor bad
        (changed(0, 8, 10, 100), 0),  # the median counts
    ],
)
def test_worse_by_more_than_wanted(
    tmp_path: Path, base: str, figures: list[Figure], code: int
) -> None:
    other = str(results_file(tmp_path / "other.json", figures))
    assert exit_code(base, other, "--fail-below", "0.9") == code
    assert exit_code(base, other) == 0


def test_what_is_worse_is_named(
    tmp_path: Path, base: str, capsys: pytest.CaptureFixture[str]
) -> None:
    good = str(results_file(tmp_path / "good.json", BASE))
    bad = str(results_file(tmp_path / "bad.json", changed(0, 5)))
    assert exit_code(base, good, bad, "--fail-below", "0.9") == 1
    worse = capsys.readouterr().err.splitlines()
    assert len(worse) == 1
    assert worse[0].startswith("worse: bad: pipeline: encap (burst 256, bindings 1,000,000")
    assert "10 -> 5 Mpps, 0.50 times" in worse[0]
    assert exit_code(base, bad, "--fail-below", "0.9", "--only", "offered") == 0


def test_medians_spread_and_ratio(
    tmp_path: Path, base: str, capsys: pytest.CaptureFixture[str]
) -> None:
    runs = (1, 10, 20, 30, 1000)
    other = str(results_file(tmp_path / "other.json", changed(0, *runs)))
    exit_code(base, other)
    line = next(line for line in capsys.readouterr().out.splitlines() if "9..11" in line)
    for cell in ("10", "20", "1..1,000", "2.00"):
        assert cell in line.replace("│", " ").split()
    exit_code(base, other, "--iqr")
    assert "10..30" in capsys.readouterr().out


def test_zeros_have_no_ratio(tmp_path: Path) -> None:
    files = [
        str(results_file(tmp_path / f"{lost}.json", [figure("encap: lost", "Mpps", lost)]))
        for lost in (0, 1)
    ]
    assert exit_code(*files, "--fail-below", "0.9") == 0
    assert exit_code(*reversed(files), "--fail-below", "0.9") == 0


def test_figures_that_one_lacks_are_named(
    tmp_path: Path, base: str, capsys: pytest.CaptureFixture[str]
) -> None:
    other = str(results_file(tmp_path / "other.json", [BASE[0], figure("new", "s", 1, burst=None)]))
    assert exit_code(base, other, "--fail-below", "0.9") == 0
    out = capsys.readouterr().out
    assert "not in other: pipeline: encap: lost" in out
    assert "not in base: pipeline: new (bindings 1,000,000, frame 64), s" in out


def test_nothing_in_common(tmp_path: Path, base: str, capsys: pytest.CaptureFixture[str]) -> None:
    other = str(results_file(tmp_path / "other.json", [figure("encap", "Mpps", 1, burst=1)]))
    assert exit_code(base, other) == 2
    assert "no figure in common" in capsys.readouterr().err


def test_other_machines_are_pointed_out(
    tmp_path: Path, base: str, capsys: pytest.CaptureFixture[str]
) -> None:
    elsewhere = {
        "machine": QUIET["machine"] | {"cpu": "Two"},
        "load": {"before": [5.0, 1.0, 1.0], "after": [0.0] * 3},
    }
    other = str(results_file(tmp_path / "other.json", BASE, **elsewhere))
    exit_code(base, other)
    notes = [line for line in capsys.readouterr().out.splitlines() if line.startswith("not alike")]
    assert notes == [
        "not alike: processor: base has One, other has Two",
        "not alike: other: the machine was busy, load average 5.0",
    ]


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["base.json"], "two files"),
        (["base.json", "none.json"], "No such file"),
        (["base.json", "base.json", "--fail-below", "1.5"], "1.5: expected a number"),
        (["base.json", "base.json", "--fail-below", "much"], "much: expected a number"),
    ],
)
def test_wrong_words(
    tmp_path: Path, base: str, words: list[str], told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert base.endswith("base.json")
    with pytest.raises(SystemExit) as caught:
        exit_code(*[str(tmp_path / x) if x.endswith(".json") else x for x in words])
    assert caught.value.code == 2
    assert told in capsys.readouterr().err
