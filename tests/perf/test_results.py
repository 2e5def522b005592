"""Results files: what is written is read again, and what is none is told of."""

from __future__ import annotations

import argparse
import json
from typing import TYPE_CHECKING

import pytest

from perf.results import ResultsError, Row, add_output, read, read_all, report
from tests.perf.resultsfiles import figure, results_file

if TYPE_CHECKING:
    from pathlib import Path

GOOD = {"bench": "b", "work": "w", "unit": "s", "runs": [1]}


def test_what_was_written_is_read(tmp_path: Path) -> None:
    figures = [figure("encap", "Mpps", 3.0, 1.0, 2.0), figure("encap", "ns/packet", 5, burst=None)]
    found = read(results_file(tmp_path / "deep" / "one.json", figures))
    assert (found.name, found.environment["kernel"]) == ("one", "Linux 6.1")
    first, second = found.rows
    assert (first.work, first.unit, first.value, list(first.runs)) == (
        *("encap", "Mpps", 2.0),
        [3.0, 1.0, 2.0],
    )
    assert first.says(burst=256, unit="Mpps")
    assert second.says(burst=None)
    assert not first.says(burst=None)
    assert first.key != second.key


def test_fields_that_came_later_are_part_of_the_name(tmp_path: Path) -> None:
    one, other = results_file(tmp_path / "one.json", [figure("encap", "Mpps", 1)]), tmp_path / "o"
    content = json.loads(one.read_text())
    content["figures"][0]["flows"] = 60_000
    other.write_text(json.dumps(content))
    assert read(one).rows[0].key != read(other).rows[0].key
    assert read(other).rows[0].says(flows=60_000)


def test_a_rate_that_was_reached_is_no_part_of_the_name() -> None:
    named = {"bench": "b", "work": "lost at 90 %", "unit": "%"}
    one, other = (Row({**named, "load": load}, [1.0]) for load in (0.51, 0.52))
    assert one.key == other.key


def test_files_of_one_name_are_told_apart_by_their_directories(tmp_path: Path) -> None:
    paths = [
        results_file(tmp_path / name, [figure("w", "s", 1)]) for name in ("a/x.json", "b.json")
    ]
    assert [each.name for each in read_all(paths)] == ["x", "b"]
    paths.append(results_file(tmp_path / "c/x.json", []))
    assert len({each.name for each in read_all(paths)}) == 3


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ("{", "no JSON"),
        ("[]", '"format" is not'),
        ('{"format": "other"}', '"format" is not'),
        ('{"format": "dstmrouter-perf", "version": 2}', "version 2, expected 1"),
        ('{"format": "dstmrouter-perf", "version": 1, "figures": []}', '"environment"'),
    ],
)
def test_files_that_are_none(tmp_path: Path, content: str, told: str) -> None:
    path = tmp_path / "results.json"
    path.write_text(content)
    with pytest.raises(ResultsError, match=told) as caught:
        read(path)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize(
    ("figure_", "told"),
    [
        (7, "an object"),
        (GOOD | {"runs": []}, '"runs"'),
        (GOOD | {"runs": [True]}, '"runs"'),
        (GOOD | {"work": None}, '"work" is no text'),
        (GOOD | {"frame": [64]}, '"frame" is neither'),
    ],
)
def test_figures_that_are_none(tmp_path: Path, figure_: object, told: str) -> None:
    path = tmp_path / "results.json"
    head = {"format": "dstmrouter-perf", "version": 1, "environment": {}}
    path.write_text(json.dumps(head | {"figures": [GOOD, figure_]}))
    with pytest.raises(ResultsError, match=f"figure 2: .*{told}"):
        read(path)


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(ResultsError, match="No such file"):
        read(tmp_path / "none.json")


def test_benches_write_where_they_are_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    parser = argparse.ArgumentParser()
    add_output(parser)
    parser.add_argument("--runs", type=int, default=5)
    path = tmp_path / "made.json"
    args = parser.parse_args(["--json", "--out", str(path), "--runs", "1"])
    report("title", [figure("encap", "Mpps", 2.5)], args)
    assert json.loads(capsys.readouterr().out)["value"] == 2.5
    found = read(path)
    assert found.environment["options"] == {"runs": 1}
    assert found.environment["machine"]["cpus"] >= 1
    assert [row.value for row in found.rows] == [2.5]
    report("title", [], parser.parse_args([]))
    assert [file.name for file in tmp_path.iterdir()] == ["made.json"]
