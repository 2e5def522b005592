"""The picture of a lease's life in docs/leases.md, made from the table of transitions.

`python -m dstmrouter.leases.diagram` prints it, as a Mermaid state diagram.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from dstmrouter.leases.state import TRANSITIONS, State

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from dstmrouter.leases.state import Input


def state_diagram(transitions: Mapping[tuple[State, Input], State] = TRANSITIONS) -> str:
    """A line for each pair of states, with all inputs that lead from one to the other."""
    return "\n".join(["stateDiagram-v2", f"    [*] --> {State.FREE.name}", *_arrows(transitions)])


def _arrows(transitions: Mapping[tuple[State, Input], State]) -> Iterator[str]:
    inputs: dict[tuple[State, State], list[str]] = {}
    for (start, happened), end in transitions.items():
        inputs.setdefault((start, end), []).append(happened.value)
    for (start, end), names in inputs.items():
        yield f"    {start.name} --> {end.name}: {', '.join(names)}"


if __name__ == "__main__":
    print(state_diagram())
