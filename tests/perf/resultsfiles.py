"""Results files for the tests of what reads them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from perf.figures import Figure
from perf.results import write

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

QUIET: dict[str, Any] = {
    "machine": {"cpu": "One", "cpus": 2, "memory_mib": 4096, "hypervisor": False},
    "kernel": "Linux 6.1",
    "versions": {"python": "3.11.2", "numpy": "2.0", "numba": "0.63", "commit": "0123456789ab"},
    "load": {"before": [0.5, 0.5, 0.5], "after": [1.0, 0.5, 0.5]},
}


def figure(
    work: str,
    unit: str,
    *runs: float,
    bench: str = "pipeline",
    burst: int | None = 256,
    bindings: int | None = 1_000_000,
) -> Figure:
    return Figure(
        bench=bench, work=work, unit=unit, runs=runs, burst=burst, bindings=bindings, frame=64
    )


def results_file(path: Path, figures: Sequence[Figure], **changed: object) -> Path:
    write(path, figures, QUIET | changed)
    return path
