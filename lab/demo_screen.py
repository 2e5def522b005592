"""What the demo shows: steps, the commands a person would type, what came out, ok or FAILED."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING, Final

from rich.console import Console
from rich.markup import escape
from rich.text import Text

if TYPE_CHECKING:
    from collections.abc import Iterable

INDENT: Final = "     "
WIDTH: Final = 104  # where the output is no terminal
LINES: Final = 30  # of one command's output


class StepError(Exception):
    """A step did not hold; `str()` says which claim."""


class Screen:
    """Writes the demo to standard output, with colours where that is a terminal."""

    def __init__(self) -> None:
        console = Console()
        self._console = console if console.is_terminal else Console(width=WIDTH)
        self._steps = 0
        self.claims = 0  # that held
        self.failures = 0

    @property
    def width(self) -> int:
        """Columns that a command's output may fill."""
        return self._console.width - len(INDENT)

    def title(self, text: str) -> None:
        """Write the first line of all."""
        self._console.rule(f"[bold]{escape(text)}")

    def step(self, text: str) -> None:
        """Begin a step."""
        self._steps += 1
        self._console.print(f"\n[bold cyan]{self._steps:2}. {escape(text)}[/]", highlight=False)

    def say(self, text: str) -> None:
        """Explain something."""
        for line in text.splitlines():
            self._console.print(Text(f"{INDENT}{line}", style="italic"), soft_wrap=True)

    def show(self, text: str) -> None:
        """Write what a command said, or a drawing; of long texts the end."""
        lines = text.rstrip().splitlines()
        if len(lines) > LINES:
            lines = [f"... {len(lines) - LINES} lines", *lines[-LINES:]]
        for line in lines:
            self._console.print(Text(f"{INDENT}{line.rstrip()}", style="dim"), soft_wrap=True)

    def command(self, host: str, words: Iterable[str], *, background: bool = False) -> None:
        """Write a command as a person would type it on `host`."""
        prompt = Text(f"{INDENT}{host}# ", style="green")
        typed = Text(shlex.join(words) + (" &" if background else ""), style="bold")
        self._console.print(prompt + typed, soft_wrap=True)

    def check(self, claim: str, held: bool) -> None:
        """Write a claim as ok or FAILED; StepError if it does not hold."""
        mark = Text("  ok ", style="bold green") if held else Text(" FAILED ", style="bold red")
        self._console.print(mark + Text(claim, style="default"), soft_wrap=True)
        if not held:
            self.failures += 1
            raise StepError(claim)
        self.claims += 1

    def failed(self, text: str) -> None:
        """Write what went wrong, and count it."""
        self.failures += 1
        for line in text.splitlines():
            self._console.print(Text(f"{INDENT}{line}", style="red"), soft_wrap=True)

    def sum_up(self, seconds: float) -> None:
        """Write the last line of all."""
        if self.failures:
            self._console.rule("[bold red]FAILED")
        else:
            self._console.rule(f"[bold green]all {self.claims} claims held, {seconds:.0f} s")
