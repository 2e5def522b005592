"""The load that latency, variation and recovery are measured at: a share of the throughput."""

from __future__ import annotations

from typing import TYPE_CHECKING

from perf.rfc8219.bench import positive
from perf.rfc8219.throughput import add_arguments as add_search
from perf.rfc8219.throughput import throughput

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable

    from perf.rfc8219.bench import Bench
    from perf.rfc8219.frames import Frames


def add_arguments(parser: argparse.ArgumentParser, share: float = 100) -> None:
    """How the load is found."""
    add_search(parser)
    parser.add_argument(
        "--load", type=positive, default=share, metavar="PERCENT", help=f"of it (default {share:g})"
    )
    parser.add_argument("--rate", type=positive, metavar="MPPS", help="this rate, without a search")


def found(
    bench: Bench, frames: Frames, args: argparse.Namespace, progress: Callable[[str], None]
) -> float:
    """Frames/s in each direction; ValueError if nothing passes without loss."""
    if args.rate is not None:
        return float(args.rate) * 1e6
    highest = throughput(bench, frames, args, progress)
    if highest == 0:
        raise ValueError(f"{bench.device.name} {frames.name}: no throughput without loss")
    share: float = args.load / 100
    return highest * 1e6 * share
