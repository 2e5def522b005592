"""Packet delay variation and inter-packet delay variation, at a share of the throughput.

RFC 8219 section 7.3. PDV (RFC 5481 section 3.2) is the delay that 99.9 % of the frames do not
exceed, less the smallest. IPDV (section 3.1) is the difference between the delays of two frames
that were sent one after the other, of the first half million frames: smallest, median, largest.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import numpy as np

from perf.rfc8219 import load
from perf.rfc8219.bench import opened, settle_arguments
from perf.rfc8219.trial import Trial

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable

    from perf.figures import Figure
    from perf.rfc8219.histogram import Delays

PERCENT = 99.9
add_arguments = load.add_arguments


def measure(args: argparse.Namespace, progress: Callable[[str], None]) -> list[Figure]:
    """PDV and IPDV in microseconds, for each frame size; of the worse direction."""
    settle_arguments(args)
    figures = []
    with opened(args, args.bindings, args.tunnels) as bench:
        for frames in args.frames:
            rate = load.found(bench, frames, args, progress)
            runs: dict[str, list[float]] = {}
            for number in range(args.runs):
                outcome = bench.tester.run(Trial(frames, args.direction, args.seconds, rate))
                values = max(
                    (variation(stream.delays) for stream in outcome.streams.values()),
                    key=lambda found: found["PDV"],
                )
                for what, value in values.items():
                    runs.setdefault(what, []).append(value / 1e3)
                progress(f"run {number + 1}: PDV {values['PDV'] / 1e3:.1f} us")
            figures += [
                dataclasses.replace(
                    bench.figure("pdv", frames, found, unit="us", what=what),
                    percentile=PERCENT if what == "PDV" else None,
                    load=rate / 1e6,
                )
                for what, found in runs.items()
            ]
    return figures


def variation(delays: Delays) -> dict[str, float]:
    """All figures of one stream, nanoseconds; zeros if too little arrived."""
    differences = delays.variations() if len(delays) > 1 else np.zeros(1)
    if len(differences) == 0:
        differences = np.zeros(1)
    return {
        "PDV": delays.percentile(PERCENT) - delays.least if len(delays) else 0.0,
        "IPDV min": float(differences.min()),
        "IPDV median": float(np.median(differences)),
        "IPDV mean deviation": float(np.abs(differences).mean()),
        "IPDV max": float(differences.max()),
    }
