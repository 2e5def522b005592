"""Frame loss rate: what is lost at rates from the highest down, until nothing is.

RFC 8219 section 7.4, RFC 2544 section 26.3: trials at 100 % of the highest rate, 90 % and so on
until two in a row lose nothing. The highest rate is that of the medium (`--line-rate`) or, over
veth, which has none, as much as the generator can.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from perf.rfc8219.bench import opened, settle_arguments
from perf.rfc8219.trial import Trial

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Iterator

    from perf.figures import Figure
    from perf.rfc8219.bench import Bench
    from perf.rfc8219.frames import Frames

CLEAN_ENOUGH = 2  # trials in a row
QUICK_STEP = 30.0


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """How fine the curve is."""
    parser.add_argument(
        "--step", type=float, default=10.0, help="per cent of the rate (default 10, which is most)"
    )


def measure(args: argparse.Namespace, progress: Callable[[str], None]) -> list[Figure]:
    """Per cent lost for each load and frame size; `load` is what was offered in a direction."""
    settle_arguments(args)
    if args.quick:
        args.step = QUICK_STEP
    if not 0 < args.step < 100:
        raise ValueError(f"--step {args.step}: expected more than 0 and less than 100")
    with opened(args, args.bindings, args.tunnels) as bench:
        return [point for frames in args.frames for point in curve(bench, frames, args, progress)]


def curve(
    bench: Bench, frames: Frames, args: argparse.Namespace, progress: Callable[[str], None]
) -> Iterator[Figure]:
    """The points of one frame size, from the highest rate down."""
    most = (
        bench.tester.run(Trial(frames, args.direction, args.seconds)).offered
        if args.line_rate is None
        else frames.rate_max(args.line_rate * 1e9)
    )
    clean = 0
    for percent in loads(args.step):
        trial = Trial(frames, args.direction, args.seconds, most * percent / 100)
        outcomes = [bench.tester.run(trial) for _ in range(args.runs)]
        losses = [100 * outcome.loss for outcome in outcomes]
        offered = sum(outcome.offered for outcome in outcomes) / len(outcomes)
        progress(
            f"{frames.name}: {percent:g} %, {offered / 1e6:.3f} Mpps, lost {max(losses):.3f} %"
        )
        yield dataclasses.replace(
            bench.figure("loss", frames, losses, unit="%", what=f"at {percent:g} %"),
            load=offered / 1e6,
        )
        clean = 0 if any(losses) else clean + 1
        if clean == CLEAN_ENOUGH:
            return


def loads(step: float) -> list[float]:
    """100 and down in steps, to more than 0."""
    return [100 - number * step for number in range(int(100 / step) + 1) if number * step < 100]
