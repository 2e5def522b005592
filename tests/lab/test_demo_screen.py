"""What the demo writes, as a person reads it."""

from __future__ import annotations

import pytest

from lab.demo_screen import LINES, Screen, StepError


def test_commands_are_written_as_typed(capsys: pytest.CaptureFixture[str]) -> None:
    screen = Screen()
    screen.command("client1", ["curl", "-w", "%{size}[x]", "http://host/a b"])
    screen.command("router", ["dstm-router", "run"], background=True)
    first, second = capsys.readouterr().out.splitlines()
    assert first == "     client1# curl -w '%{size}[x]' 'http://host/a b'"
    assert second == "     router# dstm-router run &"


def test_claims_are_counted_and_false_ones_end_the_step(
    capsys: pytest.CaptureFixture[str],
) -> None:
    screen = Screen()
    screen.step("[one]")
    screen.check("it holds", held=True)
    with pytest.raises(StepError, match="it does not"):
        screen.check("it does not", held=False)
    assert (screen.claims, screen.failures) == (1, 1)
    assert capsys.readouterr().out.splitlines() == [
        "",
        " 1. [one]",
        "  ok it holds",
        " FAILED it does not",
    ]


@pytest.mark.parametrize(("failures", "said"), [(0, "all 0 claims held, 2 s"), (1, "FAILED")])
def test_the_last_line_tells_how_it_went(
    capsys: pytest.CaptureFixture[str], failures: int, said: str
) -> None:
    screen = Screen()
    for _ in range(failures):
        screen.failed("reason")
    screen.sum_up(2.2)
    assert said in capsys.readouterr().out.splitlines()[-1]


def test_long_output_is_cut(capsys: pytest.CaptureFixture[str]) -> None:
    Screen().show("\n".join(f"line {number}" for number in range(LINES + 5)))
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].strip() == "... 5 lines"
    assert lines[1].strip() == "line 5"
    assert len(lines) == LINES + 1
