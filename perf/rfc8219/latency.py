"""Latency: how long frames are under way, at a share of the throughput.

RFC 8219 section 7.2, RFC 2544 section 26.2. All frames of the second half of a trial count, where
the RFCs tag 500 after 60 of 120 seconds: the first ones find the device asleep. p50 is the typical
latency of RFC 8219 and p99.9 its worst case; figures are medians over the runs. With `--realtime`
trials must be short, so the frames of five make a run: on a virtual machine whose host takes the
CPU for 4 ms twice a second, a hundredth of the frames of a short trial are late, or none. And
before all runs and after them it is told how much of the worker's CPU is taken without us.

The stamp is written when the kernel's generator makes the frame and read by the XDP program that
receives it: `--device wire` shows what of it is the tester's own.
"""

from __future__ import annotations

import dataclasses
import math
from typing import TYPE_CHECKING, Final

from perf.gateway import WORKER_CPU
from perf.rfc8219 import load
from perf.rfc8219.bench import count, opened, settle_arguments
from perf.rfc8219.histogram import together
from perf.rfc8219.pauses import pauses_of
from perf.rfc8219.trial import Trial

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Iterator, Sequence

    from perf.figures import Figure
    from perf.rfc8219.bench import Bench
    from perf.rfc8219.frames import Frames
    from perf.rfc8219.histogram import Delays

PERCENTILES: Final = {"min": 0.0, "p50": 50.0, "p99": 99.0, "p99.9": 99.9, "max": 100.0}
REALTIME_TRIALS: Final = 5  # of a run, as they are short: the counted halves make 2 s


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The load, and how many trials a run has."""
    load.add_arguments(parser)
    parser.add_argument(
        "--trials",
        type=count,
        help=f"whose frames make one run (default 1, --realtime {REALTIME_TRIALS})",
    )


def measure(args: argparse.Namespace, progress: Callable[[str], None]) -> list[Figure]:
    """Minimum, mean, percentiles and maximum in microseconds, for each frame size."""
    settle_arguments(args)
    figures: list[Figure] = []
    # Between trials it would add up to more than LONGEST_S, and cost the next 25 ms.
    taken = [without_us(progress)] if args.realtime else []
    with opened(args, args.bindings, args.tunnels) as bench:
        for frames in args.frames:
            rate = load.found(bench, frames, args, progress)
            trial = Trial(
                frames, args.direction, args.seconds, rate, delays_after_s=args.seconds / 2
            )
            trials = args.trials or (REALTIME_TRIALS if args.realtime and not args.quick else 1)
            runs = []
            for number in range(1, args.runs + 1):
                run, line = one_run(bench, trial, trials)
                runs.append(run)
                progress(f"run {number}: {line}")
            figures += by_percentile(bench, frames, rate, runs)
        if taken:
            taken.append(without_us(progress))
            what, unit = "pauses of the CPU without us", "% of time"
            figures.append(bench.figure("latency", frames, taken, unit=unit, what=what))
    return figures


def without_us(progress: Callable[[str], None]) -> float:
    """Per cent of the time in which the worker's CPU pauses while the worker does nothing."""
    pauses = pauses_of(WORKER_CPU)
    progress(f"without us, the worker's CPU pauses {pauses}")
    return 100 * pauses.share


def by_percentile(
    bench: Bench, frames: Frames, rate: float, runs: Sequence[list[Delays]]
) -> Iterator[Figure]:
    """Of each run, microseconds."""
    for what, percent in {**PERCENTILES, "mean": None}.items():
        values = [worst(delays, percent) / 1e3 for delays in runs]
        figure = bench.figure("latency", frames, values, unit="us", what=what)
        yield dataclasses.replace(figure, percentile=percent, load=rate / 1e6)


def one_run(bench: Bench, trial: Trial, trials: int) -> tuple[list[Delays], str]:
    """Delays of all frames of some trials, for each direction, and how the trials went."""
    waited = bench.device.waited_s()
    outcomes = [bench.tester.run(trial) for _ in range(trials)]
    waited = bench.device.waited_s() - waited
    ways = zip(*[outcome.streams.values() for outcome in outcomes], strict=True)
    run = [together([stream.delays for stream in way]) for way in ways]
    return run, (
        f"{min(outcome.offered for outcome in outcomes) / 1e6:.3f} Mpps offered, "
        f"{100 * max(outcome.loss for outcome in outcomes):.3f} % lost, "
        f"p99 {worst(run, 99) / 1e3:.1f} us; "
        f"the device waited {1e3 * waited:.0f} ms for its CPU"
    )


def worst(streams: list[Delays], percent: float | None) -> float:
    """Of the direction where it is larger, nanoseconds; `percent` None is the mean."""
    values = [d.mean if percent is None else d.percentile(percent) for d in streams]
    return max((value for value in values if not math.isnan(value)), default=math.nan)
