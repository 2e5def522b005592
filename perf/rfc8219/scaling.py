"""Load scaling: throughput with more and more bindings, or with frames of more and more tunnels.

RFC 8219 section 10.2: the figure for one network flow, those for more, and the degradation
1 - Xn / X1 in per cent. A network flow of an encapsulating gateway is a tunnel. `--over bindings`
fills the device's table, and frames use all of it; `--over tunnels` keeps `--bindings` in the table
and lets frames use some of them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from perf.rfc8219.bench import count, opened, settle_arguments
from perf.rfc8219.throughput import add_arguments as add_search
from perf.rfc8219.throughput import throughput

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable

    from perf.figures import Figure

COUNTS: Final = (1, 256, 65_536, 1_000_000)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What grows, and how far."""
    add_search(parser)
    parser.add_argument("--over", choices=("bindings", "tunnels"), default="bindings")
    parser.add_argument(
        "--counts",
        type=lambda text: tuple(map(count, text.split(","))),
        default=COUNTS,
        help="1,256,65536,1000000",
    )


def measure(args: argparse.Namespace, progress: Callable[[str], None]) -> list[Figure]:
    """Throughput and degradation for each count and frame size."""
    if args.quick:
        args.counts = args.counts[:2]
    if args.over == "tunnels":
        args.bindings = max(args.bindings, *args.counts)
    settle_arguments(args)
    figures: list[Figure] = []
    first: dict[str, float] = {}
    for number in args.counts:
        bindings, tunnels = (number, None) if args.over == "bindings" else (args.bindings, number)
        with opened(args, bindings, tunnels) as bench:
            for frames in args.frames:
                rates = [throughput(bench, frames, args, progress) for _ in range(args.runs)]
                name = f"{number:,} {args.over}"
                of_all = bench.figure("scaling", frames, rates, what=name)
                base = first.setdefault(frames.name, of_all.value)
                lower = [100 * (1 - rate / base) if base else 0.0 for rate in of_all.runs]
                below = bench.figure("scaling", frames, lower, "%", f"{name}: degradation")
                figures += [of_all, below]
    return figures
