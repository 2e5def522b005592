"""Subcommands of `python -m perf`."""

from __future__ import annotations

import ast
import importlib.util
import json
import re
import sys
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

import pytest

from perf.__main__ import SUBCOMMANDS, main
from perf.results import read
from tests.perf.resultsfiles import figure

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Sequence

    from perf.figures import Figure


@pytest.fixture
def subcommand(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """An empty module that `perf made-up` runs."""
    module = ModuleType("perf.made_up", "What it does.\n\nMore of it.")
    module.__spec__ = ModuleSpec(module.__name__, None)
    monkeypatch.setitem(sys.modules, module.__name__, module)
    monkeypatch.setitem(SUBCOMMANDS, "made-up", module.__name__)
    return module


def measuring(module: ModuleType) -> None:
    def add_arguments(parser: argparse.ArgumentParser) -> None:
        parser.add_argument("--runs", type=int, default=1)

    def measure(args: argparse.Namespace, progress: Callable[[str], None]) -> list[Figure]:
        progress("half of it")
        return [figure("work", "s", *[2.0] * args.runs)]

    module.add_arguments = add_arguments  # type: ignore[attr-defined]
    module.measure = measure  # type: ignore[attr-defined]


def test_figures_of_what_only_measures(
    subcommand: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    measuring(subcommand)
    path = tmp_path / "made.json"
    assert main(["made-up", "--json", "--runs", "3", "--out", str(path)]) == 0
    out, err = capsys.readouterr()
    assert json.loads(out)["runs"] == [2.0] * 3
    assert err == "half of it\n"
    found = read(path)
    assert found.environment["options"] == {"runs": 3}
    assert [row.value for row in found.rows] == [2.0]
    with pytest.raises(SystemExit):
        main(["made-up", "--help"])
    assert "What it does." in capsys.readouterr().out


def test_words_and_exit_code_of_what_does_all_itself(subcommand: ModuleType) -> None:
    given: list[Sequence[str]] = []
    subcommand.main = lambda words: given.append(words) or 3  # type: ignore[attr-defined, func-returns-value]
    assert main(["made-up", "a", "--b"]) == 3
    subcommand.main = given.append  # type: ignore[attr-defined]
    assert main(["made-up"]) == 0
    assert given == [["a", "--b"], []]


def present() -> dict[str, Path]:
    """Sources of the subcommands."""
    specs = {name: importlib.util.find_spec(module) for name, module in SUBCOMMANDS.items()}
    return {name: Path(spec.origin) for name, spec in specs.items() if spec and spec.origin}


@pytest.mark.parametrize(("name", "path"), present().items(), ids=[*present()])
def test_every_subcommand_is_of_one_of_the_two_kinds(name: str, path: Path) -> None:
    functions = {
        each.name: [argument.arg for argument in each.args.args]
        for each in ast.parse(path.read_text(encoding="utf-8")).body
        if isinstance(each, ast.FunctionDef)
    }
    if "main" in functions:
        assert functions["main"] == ["argv"], f"{name}: as perf/pipeline.py has it"
    else:
        assert functions["add_arguments"] == ["parser"]
        assert functions["measure"] == ["args", "progress"]


def test_make_perf_runs_subcommands() -> None:
    makefile = (Path(__file__).parents[2] / "Makefile").read_text(encoding="utf-8")
    (listed,) = re.findall(r"^PERF := (.*)$", makefile, re.MULTILINE)
    assert set(listed.split()) <= set(present())


def test_without_words(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--help"]) == 0
    out = capsys.readouterr().out
    for name, module in SUBCOMMANDS.items():
        assert (f"  {name} " in out) == (importlib.util.find_spec(module) is not None)
    assert main([]) == 2


def test_an_unknown_word(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(SUBCOMMANDS, "planned", "perf.not_yet_there")
    assert main(["planned"]) == 2
    assert "no subcommand 'planned'" in capsys.readouterr().err
    assert main(["pipelines"]) == 2
    assert "no subcommand 'pipelines'" in capsys.readouterr().err
