from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

from dstmrouter.leases.diagram import state_diagram
from dstmrouter.leases.state import TRANSITIONS, Input, State

DOCUMENT = Path(__file__).parents[2] / "docs" / "leases.md"


def test_the_picture_in_the_document_is_that_of_the_table() -> None:
    """If not: `python -m dstmrouter.leases.diagram` prints what belongs there."""
    (picture,) = re.findall(r"```mermaid\n(.*?)\n```", DOCUMENT.read_text(), re.DOTALL)
    assert picture == state_diagram()


def test_every_transition_is_in_the_picture() -> None:
    arrows = re.findall(r"^    (\w+) --> (\w+): (.*)$", state_diagram(), re.MULTILINE)
    drawn = {
        (State[start], Input(name)): State[end]
        for start, end, names in arrows
        for name in names.split(", ")
    }
    assert drawn == TRANSITIONS


def test_it_is_a_program() -> None:
    command = [sys.executable, "-m", "dstmrouter.leases.diagram"]
    printed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert printed == state_diagram() + "\n"
