"""Reset: how long nothing is forwarded when the device, or a part of it, starts anew.

RFC 8219 section 7.7, RFC 6201 section 4, both methods of it: `outage` is the longest time of whose
frames none arrived (to the width of a slot of time), `lost frames` over their rate. What is reset:
`worker` is kill -9 of the process that forwards, `router` is stopping `dstm-router` and starting it
with its bindings again. Another device is reset by `--reset-command`.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Final

import numpy as np

from perf.rfc8219 import load
from perf.rfc8219.bench import opened, positive, settle_arguments, wait_forwarding
from perf.rfc8219.devices import RESETS, reset_after
from perf.rfc8219.trial import Trial

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable

    from perf.figures import Figure
    from perf.rfc8219.trial import Stream

SHARE: Final = 50.0  # per cent of the throughput: what is lost, the reset has lost
BEFORE_S: Final = 0.5
SECONDS: Final = {"worker": 4.0, "router": 10.0}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What is reset, and under which load."""
    load.add_arguments(parser, SHARE)
    parser.add_argument("--reset", choices=RESETS, default="worker", help="what starts anew")
    parser.add_argument("--reset-command", metavar="COMMAND", help="resets an external device")
    parser.add_argument("--reset-seconds", type=positive, help="of a trial with a reset")


def measure(args: argparse.Namespace, progress: Callable[[str], None]) -> list[Figure]:
    """Milliseconds by both methods, for each frame size."""
    settle_arguments(args)
    figures = []
    seconds = args.reset_seconds or SECONDS[args.reset]
    with opened(args, args.bindings, args.tunnels) as bench:
        for frames in args.frames:
            rate = load.found(bench, frames, args, progress)
            trial = Trial(frames, args.direction, seconds, rate)
            runs: dict[str, list[float]] = {"outage": [], "lost frames": []}
            for number in range(args.runs):
                wait_forwarding(bench, Trial(frames, args.direction, burst=64))
                with reset_after(bench.device, args.reset, BEFORE_S):
                    outcome = bench.tester.run(trial)
                streams = list(outcome.streams.values())
                runs["outage"].append(1e3 * max(longest_outage(s) for s in streams))
                runs["lost frames"].append(1e3 * max(s.lost / s.offered for s in streams))
                progress(
                    f"run {number + 1}: {runs['outage'][-1]:.1f} ms, by lost frames "
                    f"{runs['lost frames'][-1]:.1f} ms, slots of {1e3 * streams[0].slot_s:.2f} ms"
                )
            for what, found in runs.items():
                figures.append(
                    dataclasses.replace(
                        bench.figure(
                            "reset", frames, found, unit="ms", what=f"{args.reset}: {what}"
                        ),
                        load=rate / 1e6,
                    )
                )
    return figures


def longest_outage(stream: Stream) -> float:
    """Seconds of the longest run of slots in which frames were sent and none arrived.

    Slots without a frame sent do not end a run and do not begin one.
    """
    used = np.flatnonzero(stream.sent_slots)
    silent = stream.received_slots[used] == 0
    edges = np.flatnonzero(np.diff(np.concatenate(([False], silent, [False])).astype(np.int8)))
    begins, ends = edges[::2], edges[1::2]
    if len(begins) == 0:
        return 0.0
    spans = used[ends - 1] - used[begins] + 1
    return float(spans.max()) * stream.slot_s
