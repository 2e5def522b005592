"""Throughput: the highest rate at which no more than the tolerated share of frames is lost.

RFC 8219 section 7.1, RFC 2544 section 26.1. Direction `both` loads both directions alike; its
figure is their sum. A rate passes in one of `--tries` trials: other guests of a machine take its
CPUs away now and then. The figure is the rate that was offered, not the one that was wanted.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from perf.rfc8219.bench import count, opened, positive, settle_arguments
from perf.rfc8219.search import highest_rate
from perf.rfc8219.trial import Trial

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable

    from perf.figures import Figure
    from perf.rfc8219.bench import Bench
    from perf.rfc8219.frames import Frames

MARGIN: Final = 1.25  # times what was forwarded under overload: the search begins there
QUICK_RESOLUTION: Final = 0.2


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What the search can be told."""
    parser.add_argument("--loss", type=float, default=0.0, help="per cent tolerated (default 0)")
    parser.add_argument(
        "--resolution", type=positive, default=0.02, help="of the rate (default 0.02)"
    )
    parser.add_argument("--tries", type=count, default=2, help="for each rate (RFC 2544: 1)")


def measure(args: argparse.Namespace, progress: Callable[[str], None]) -> list[Figure]:
    """A figure for each frame size."""
    settle_arguments(args)
    with opened(args, args.bindings, args.tunnels) as bench:
        return [
            bench.figure(
                "throughput",
                frames,
                [throughput(bench, frames, args, progress) for _ in range(args.runs)],
            )
            for frames in args.frames
        ]


def throughput(
    bench: Bench, frames: Frames, args: argparse.Namespace, progress: Callable[[str], None]
) -> float:
    """Frames/s in each direction, millions, at the tolerated loss."""
    tolerated = args.loss / 100
    name = f"{bench.device.name} {args.direction} {frames.name}"

    def passed(rate: float | None) -> float | None:
        for _ in range(args.tries):
            outcome = bench.tester.run(Trial(frames, args.direction, args.seconds, rate))
            wanted = "all" if rate is None else f"{rate / 1e6:.3f}"
            progress(
                f"{name}: {wanted} Mpps wanted, {outcome.offered / 1e6:.3f} offered, "
                f"{100 * outcome.loss:.3f} % lost"
            )
            if outcome.loss <= tolerated:
                return outcome.offered
        return None

    most = None if args.line_rate is None else frames.rate_max(args.line_rate * 1e9)
    over = bench.tester.run(Trial(frames, args.direction, args.seconds, most))
    rates = f"{over.offered / 1e6:.3f} Mpps, forwarded {over.forwarded / 1e6:.3f}"
    progress(f"{name}: overload {rates}")
    if over.loss <= tolerated:
        progress(f"{name}: the tester or the line is the limit")
        return over.offered / 1e6
    resolution = QUICK_RESOLUTION if args.quick else args.resolution
    high = min(over.offered, MARGIN * over.forwarded)
    return highest_rate(passed, 0.0, high, resolution) / 1e6
