"""Methods of RFC 2544 and RFC 8219: throughput, latency, loss, recovery, ... of any gateway.

python -m perf.rfc8219 METHOD [--device D | --ports A B --macs A B] [--frames 64,imix] ...
python -m perf.rfc8219 export FORMAT [--bindings N]
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence


def main(argv: Sequence[str] | None = None) -> int:
    """Run one method; its exit code."""
    from perf.rfc8219.command import run  # here, so that the description costs no packages

    return run(argv)
