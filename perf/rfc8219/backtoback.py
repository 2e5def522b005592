"""Back-to-back frames: the longest burst at the highest rate of which nothing is lost.

RFC 8219 section 7.5, RFC 2544 section 26.4, with the repetition and the buffer time of RFC 9004:
the burst's frames over the highest rate, and the same corrected by what the device forwards
meanwhile. Bursts are at most two seconds long.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from perf.rfc8219.bench import opened, positive, settle_arguments
from perf.rfc8219.search import longest_burst
from perf.rfc8219.trial import Trial

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable

    from perf.figures import Figure
    from perf.rfc8219.bench import Bench
    from perf.rfc8219.frames import Frames

LONGEST_S = 2.0
RESOLUTION = 0.02
QUICK_RESOLUTION = 0.2


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """How long a burst may get."""
    parser.add_argument(
        "--longest", type=positive, default=LONGEST_S, help="burst in seconds (default 2)"
    )


def measure(args: argparse.Namespace, progress: Callable[[str], None]) -> list[Figure]:
    """Frames of the longest burst, buffer times in milliseconds; for each frame size."""
    settle_arguments(args)
    figures = []
    with opened(args, args.bindings, args.tunnels) as bench:
        for frames in args.frames:
            over = bench.tester.run(Trial(frames, args.direction, args.seconds))
            lengths = [float(longest(bench, frames, args, over.offered)) for _ in range(args.runs)]
            progress(f"{frames.name}: bursts of {lengths} frames at {over.offered / 1e6:.3f} Mpps")
            buffer_ms = [1e3 * length / over.offered for length in lengths]
            spare = max(over.offered - over.forwarded, 0.0) / over.offered
            rows = {
                "frames": ("frames", lengths),
                "buffer": ("ms", buffer_ms),
                "corrected buffer": ("ms", [spare * time_ms for time_ms in buffer_ms]),
            }
            figures += [
                dataclasses.replace(
                    bench.figure("back-to-back", frames, runs, unit=unit, what=what),
                    load=over.offered / 1e6,
                )
                for what, (unit, runs) in rows.items()
            ]
    return figures


def longest(bench: Bench, frames: Frames, args: argparse.Namespace, rate: float) -> int:
    """The longest burst of each direction that arrives whole."""

    def passed(length: int) -> bool:
        trial = Trial(frames, args.direction, length / rate, burst=length)
        return bench.tester.run(trial).loss == 0

    seconds = args.seconds if args.quick else args.longest
    resolution = QUICK_RESOLUTION if args.quick else RESOLUTION
    return longest_burst(passed, int(seconds * rate), resolution)
