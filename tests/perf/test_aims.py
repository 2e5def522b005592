"""The table of aims: computed from figures, as the issue of the datapath wants them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from perf import accounting
from perf.aims import AIMS, Aim, Wanted, last_of_each, main
from perf.cases import AIMS as CASES
from perf.figures import Figure
from perf.results import ResultsError, Row, read, read_all
from tests.perf.resultsfiles import figure, results_file

if TYPE_CHECKING:
    from pathlib import Path

    from perf.cases import Case


def row(work: str, *runs: float, unit: str = "Mpps", **fields: int) -> Row:
    return Row({"bench": "b", "work": work, "unit": unit, **fields}, runs)


def wanted(work: str, **fields: int | None) -> Wanted:
    return Wanted("b", work, "Mpps", fields)


def of_case(bench: str, case: Case, unit: str, state: str = "") -> Figure:
    return Figure(
        bench=bench,
        work=case.work + state,
        unit=unit,
        runs=[1.0],
        burst=case.burst,
        bindings=case.bindings,
        frame=case.inner,
        flows=case.flows,
        frames=case.frames,
    )


def test_a_number_to_reach() -> None:
    aim = Aim(name="rate", least=30, unit="Mpps", of=wanted("encap", burst=256))
    reached = aim.reached([row("encap", 1, 20, 40, burst=256), row("encap", 99, burst=1)])
    assert reached is not None
    assert (reached.value, reached.runs, reached.met) == (20, 3, False)
    assert reached.times == pytest.approx(2 / 3)


def test_a_number_not_to_exceed() -> None:
    aim = Aim(name="pause", most=5, unit="us", of=wanted("one"), scale=1e-3)
    found = [aim.reached([row("one", ns)]) for ns in (4000, 5000, 10_000)]
    assert [each is not None and each.met for each in found] == [True, True, False]
    assert [each is not None and each.times for each in found] == [1.25, 1, 0.5]


def test_a_share_of_another_figure() -> None:
    aim = Aim(name="share", least=0.8, unit="", of=wanted("sets"), per=wanted("whole"))
    reached = aim.reached([row("sets", 7, 8, 9), row("whole", 10, 10)])
    assert reached is not None
    assert (reached.value, reached.met, reached.runs) == (0.8, True, 2)
    assert aim.reached([row("sets", 8)]) is None
    zero = aim.reached([row("sets", 8), row("whole", 0)])
    assert zero is not None
    assert not zero.met


def test_fields_must_name_one_figure() -> None:
    rows = [row("encap", 1, frame=64, burst=1), row("encap", 2, burst=1)]
    assert wanted("encap", frame=64).find(rows) is rows[0]
    assert wanted("encap", frame=None).find(rows) is rows[1]
    assert wanted("encap", frame=550).find(rows) is None
    with pytest.raises(ResultsError, match=r"2 figures of b are 'encap', burst 1"):
        wanted("encap", burst=1).find(rows)


def test_of_equal_figures_the_last_counts(tmp_path: Path) -> None:
    paths = [
        results_file(tmp_path / f"{value}.json", [figure("encap", "Mpps", value)])
        for value in (1, 2)
    ]
    assert [each.value for each in last_of_each(read_all(paths))] == [2]


def test_all_aims_of_the_pipeline_are_measured(tmp_path: Path) -> None:
    """The names here and those of `perf.cases` are the same."""
    figures = [of_case("pipeline", case, unit) for case in CASES for unit in ("Mpps", "ns/packet")]
    rows = read(results_file(tmp_path / "all.json", figures)).rows
    of_pipeline = [aim for aim in AIMS if aim.of.bench == "pipeline"]
    assert len(of_pipeline) > 20
    assert [aim.name for aim in of_pipeline if aim.reached(rows) is None] == []


def test_all_aims_of_accounting_are_measured(tmp_path: Path) -> None:
    figures = [
        of_case("accounting", case, "% of the rate", f"{pages}: cost")
        for case in accounting.CASES
        for pages in ("", ", 4 KiB")
    ]
    rows = read(results_file(tmp_path / "all.json", figures)).rows
    of_accounting = [aim for aim in AIMS if aim.of.bench == "accounting"]
    assert len(of_accounting) == 4
    assert [aim.name for aim in of_accounting if aim.reached(rows) is None] == []


def test_aims_have_names_of_their_own() -> None:
    assert len({aim.name for aim in AIMS}) == len(AIMS)


def test_the_table(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lost, changes = "by 10,000, 500,000/s: lost", "by 10,000, as fast as it goes: changes"
    figures = [
        figure(lost, "%", 1, 2, 3, bench="churn"),
        figure(changes, "changes/s", 250_000, bench="churn"),
    ]
    path = str(results_file(tmp_path / "churn.json", figures))
    assert main([path, "--markdown"]) == 0
    out, err = capsys.readouterr()
    lines = [line.split("|") for line in out.splitlines() if "|" in line]
    cells = {line[1].strip(): line[2:-1] for line in lines}
    assert [cell.strip() for cell in cells["forwarding loses at 500,000 changes/s"]] == [
        *("<= 5 %", "2 %", "2.50", "yes", "3")
    ]
    assert [cell.strip() for cell in cells["binding changes while forwarding, in memory"]] == [
        *(">= 500,000 1/s", "250,000 1/s", "0.50", "no", "1")
    ]
    assert "not measured: perf pipeline" in out
    assert len(cells) == len(AIMS) + 2  # head and rule
    assert err == f"1 of {len(AIMS)} aims reached\n"
    assert main([path, "--strict"]) == 1


def test_files_that_are_none(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main([str(tmp_path / "none.json")])
    assert caught.value.code == 2
    assert "none.json: No such file" in capsys.readouterr().err
