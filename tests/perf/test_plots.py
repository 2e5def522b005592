"""Plots: which figures become which lines, and files that are there."""

from __future__ import annotations

import itertools
import json
import math
import sys
from typing import TYPE_CHECKING, Any

import pytest

from perf.plots import KINDS, lines, main, nines
from perf.results import read, read_all
from tests.perf.resultsfiles import results_file

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.usefixtures("untraced")

LOSS, LATENCY, SCALING = KINDS


def made(path: Path, *rows: dict[str, Any]) -> Path:
    """A results file with such figures."""
    results_file(path, [])
    content = json.loads(path.read_text())
    content["figures"] = [{"runs": [1.0, 2.0], "bench": "b", **row} for row in rows]
    path.write_text(json.dumps(content))
    return path


def latency(percentile: float, value: float, **more: object) -> dict[str, Any]:
    word = {0.0: "min", 100.0: "max"}.get(percentile, f"p{percentile:g}")
    named = {"work": f"wire encap {word}", "unit": "us", "percentile": percentile, "load": value}
    return {**named, "runs": [value], **more}


def test_lines_go_along_their_field_and_are_told_apart_by_the_others(tmp_path: Path) -> None:
    rows = [
        {"work": "encap", "unit": "Mpps", "bindings": n, "flows": min(n, 1000), "burst": burst}
        for n in (1_000_000, 1, 65_536)
        for burst in (1, 256)
    ]
    path = made(tmp_path / "one.json", *rows, {"work": "w", "unit": "ns/packet", "bindings": 1})
    drawn = lines([read(path)], SCALING)
    assert [(line.panel, line.label) for line in drawn] == [
        *[("b: encap", "burst 1"), ("b: encap", "burst 256")]
    ]
    assert all(line.x == [1, 65_536, 1_000_000] for line in drawn)


def test_a_point_alone_is_no_line(tmp_path: Path) -> None:
    path = made(tmp_path / "one.json", {"work": "encap", "unit": "Mpps", "bindings": 1})
    assert lines([read(path)], SCALING) == []


def test_files_are_told_apart(tmp_path: Path) -> None:
    rows = [
        {"work": f"wire at {100 * load:g} %", "unit": unit, "load": load}
        for load in (0.5, 1)
        for unit in ("%", "Mpps")
    ]
    paths = [made(tmp_path / f"{name}.json", *rows) for name in ("before", "after")]
    drawn = lines(read_all(paths), LOSS)
    assert [(line.label, line.unit) for line in drawn] == [("before", "%"), ("after", "%")]
    assert {line.panel for line in drawn} == {"b: wire"}


def test_names_that_tell_of_the_point_are_one_line(tmp_path: Path) -> None:
    rows = [latency(p, 10 + p) for p in (100, 0, 50, 99.9)]
    scaled = [
        {"work": f"wire {n:,} bindings", "unit": "Mpps", "bindings": n} for n in (1, 1_000_000)
    ]
    found = read(made(tmp_path / "one.json", *rows, *scaled))
    (line,) = lines([found], LATENCY)
    assert (line.panel, line.label, line.x) == ("b: wire encap", "", [0, 50, 99.9, 100])
    (line,) = lines([found], SCALING)
    assert (line.panel, line.x) == ("b: wire", [1, 1_000_000])


def test_nines_are_as_far_apart() -> None:
    assert nines(0, 99.9) == 0
    steps = [nines(p, 99.9) for p in (90, 99, 99.9, 100)]
    assert all(math.isclose(b - a, 1) for a, b in itertools.pairwise(steps))


def test_a_file_of_each_kind(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = made(
        tmp_path / "all.json",
        *[
            latency(p, 10 + p, direction=way)
            for p in (0, 50, 99, 100)
            for way in ("encap", "decap")
        ],
        *[latency(p, 0, work="zero") for p in (50, 99)],
        *[{"work": "lost", "unit": "%", "load": load} for load in (0.5, 1)],
        *[{"work": f"w{n % 4}", "unit": "Mpps", "bindings": n} for n in range(1, 9)],
    )
    assert main([str(path), "--to", str(tmp_path / "plots"), "--format", "svg"]) == 0
    names = [f"{kind.name}.svg" for kind in KINDS]
    assert capsys.readouterr().out.split() == [str(tmp_path / "plots" / name) for name in names]
    for name in names:
        assert "</svg>" in (tmp_path / "plots" / name).read_text()


def test_nothing_to_plot(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(made(tmp_path / "none.json")), "--to", str(tmp_path / "plots")]) == 2
    assert "no figures with" in capsys.readouterr().err
    assert not (tmp_path / "plots").exists()


def test_without_matplotlib(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    path = made(tmp_path / "one.json", latency(50, 1), latency(99, 2))
    assert main([str(path), "--to", str(tmp_path)]) == 2
    assert "pip install 'dstmrouter[perf]'" in capsys.readouterr().err


def test_wrong_words(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for words in ([str(tmp_path / "none.json"), "--to", str(tmp_path)], ["x.json"]):
        with pytest.raises(SystemExit) as caught:
            main(words)
        assert caught.value.code == 2
    err = capsys.readouterr().err
    assert "none.json: No such file" in err
    assert "--to" in err
