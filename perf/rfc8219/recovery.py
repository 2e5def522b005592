"""System recovery: how long frames are still lost after an overload has ended.

RFC 8219 section 7.6, RFC 2544 section 26.5: 110 % of the throughput for half of the time, then half
of that rate. The figure is the time from the change of rates to the sending of the last frame that
was lost, to the width of a slot of time, which is told; 0 if none was lost afterwards. Where none
was lost at all, the load was no overload: `--load 200`.
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
    from perf.rfc8219.trial import Stream

OVERLOAD = 110.0  # per cent of the throughput


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Load is the overload's share of the throughput."""
    load.add_arguments(parser, OVERLOAD)


def measure(args: argparse.Namespace, progress: Callable[[str], None]) -> list[Figure]:
    """Milliseconds, for each frame size."""
    settle_arguments(args)
    figures = []
    with opened(args, args.bindings, args.tunnels) as bench:
        for frames in args.frames:
            rate = load.found(bench, frames, args, progress)
            trial = Trial(frames, args.direction, 2 * args.seconds, rate, then=rate / 2)
            runs = []
            for number in range(args.runs):
                streams = bench.tester.run(trial).streams.values()
                runs.append(1e3 * max(last_loss(s, trial.seconds / 2) for s in streams))
                lost = sum(s.lost for s in streams)
                progress(
                    f"run {number + 1}: {runs[-1]:.2f} ms, {lost or 'NONE'} lost, "
                    f"slots of {1e3 * next(iter(streams)).slot_s:.2f} ms"
                )
            figures.append(
                dataclasses.replace(
                    bench.figure("recovery", frames, runs, unit="ms"), load=rate / 1e6
                )
            )
    return figures


def last_loss(stream: Stream, changed_s: float) -> float:
    """Seconds from the change of rates to the end of the last slot with a loss; at least 0."""
    lossy = np.flatnonzero(stream.sent_slots > stream.received_slots)
    if len(lossy) == 0:
        return 0.0
    return max((int(lossy[-1]) + 1) * stream.slot_s - changed_s, 0.0)
