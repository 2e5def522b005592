"""Latency: how long frames are under way, at a share of the throughput.

RFC 8219 section 7.2, RFC 2544 section 26.2. All frames of the second half of a trial count, where
the RFCs tag 500 after 60 of 120 seconds: the first ones find the device asleep. p50 is the typical
latency of RFC 8219 and p99.9 its worst case; figures are medians over the runs. The stamp is
written when the kernel's generator makes the frame and read by the XDP program that receives it:
`--device wire` shows what of it is the tester's own.
"""

from __future__ import annotations

import dataclasses
import math
from typing import TYPE_CHECKING, Final

from perf.rfc8219 import load
from perf.rfc8219.bench import opened, settle_arguments
from perf.rfc8219.trial import Trial

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable

    from perf.figures import Figure
    from perf.rfc8219.histogram import Delays

PERCENTILES: Final = {"min": 0.0, "p50": 50.0, "p99": 99.0, "p99.9": 99.9, "max": 100.0}

add_arguments = load.add_arguments


def measure(args: argparse.Namespace, progress: Callable[[str], None]) -> list[Figure]:
    """Minimum, mean, percentiles and maximum in microseconds, for each frame size."""
    settle_arguments(args)
    figures = []
    with opened(args, args.bindings, args.tunnels) as bench:
        for frames in args.frames:
            rate = load.found(bench, frames, args, progress)
            trial = Trial(
                frames, args.direction, args.seconds, rate, delays_after_s=args.seconds / 2
            )
            runs = []
            for number in range(args.runs):
                waited = bench.device.waited_s()
                outcome = bench.tester.run(trial)
                waited = bench.device.waited_s() - waited
                runs.append([stream.delays for stream in outcome.streams.values()])
                progress(
                    f"run {number + 1}: {outcome.offered / 1e6:.3f} Mpps offered, "
                    f"{100 * outcome.loss:.3f} % lost, "
                    f"p99 {worst(runs[-1], 99) / 1e3:.1f} us; "
                    f"the device waited {1e3 * waited:.0f} ms for its CPU"
                )
            for what, percent in {**PERCENTILES, "mean": None}.items():
                values = [worst(delays, percent) / 1e3 for delays in runs]
                figures.append(
                    dataclasses.replace(
                        bench.figure("latency", frames, values, unit="us", what=what),
                        percentile=percent,
                        load=rate / 1e6,
                    )
                )
    return figures


def worst(streams: list[Delays], percent: float | None) -> float:
    """Of the direction where it is larger, nanoseconds; `percent` None is the mean."""
    values = [d.mean if percent is None else d.percentile(percent) for d in streams]
    return max((value for value in values if not math.isnan(value)), default=math.nan)
