"""A tester with a device between its ports, as the command line wants it."""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import math
import shlex
import time
from typing import TYPE_CHECKING, Final

from lab.netns import Lab, veth
from perf.figures import Figure
from perf.gateway import MACS, Gateway
from perf.rfc8219.devices import MODES, Commanded, Device, NoReset, running
from perf.rfc8219.frames import OVERHEAD, parse
from perf.rfc8219.realtime import LONGEST_S
from perf.rfc8219.source import VARIANTS_MAX
from perf.rfc8219.trial import DIRECTIONS, Tester, Trial, mac_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from perf.rfc8219.frames import Frames

MTU: Final = 1500 + OVERHEAD  # on both sides: nothing is fragmented (RFC 8219 section 5.1.1)
DEVICES: Final = (*MODES, "kernel", "wire")
START_S: Final = 10.0
FIRST: Final = 64  # frames that must all arrive before anything is measured
TRIAL_S: Final = 1.0
RFC_S: Final = 120.0  # RFC 8219 section 7.2; RFC 2544 section 24 wants 60
RFC_RUNS: Final = 20
KERNEL_MAX: Final = 4096  # interfaces: more take minutes to make


@dataclasses.dataclass(frozen=True, slots=True)
class Bench:
    """What methods measure with."""

    tester: Tester
    device: Device
    bindings: int
    direction: str

    def figure(
        self, method: str, frames: Frames, runs: Sequence[float], unit: str = "Mpps", what: str = ""
    ) -> Figure:
        """A row of results; Mpps of each direction become those of all."""
        if unit == "Mpps":
            runs = [run * len(DIRECTIONS[self.direction]) for run in runs]
        words = (self.device.name, self.direction, "" if frames.size else frames.name, what)
        return Figure(
            bench=f"rfc8219-{method}",
            work=" ".join(word for word in words if word),
            unit=unit,
            runs=runs,
            bindings=self.bindings,
            frame=frames.size,
            direction=self.direction,
        )


def positive(text: str) -> float:
    """A number over 0, for argparse."""
    value = float(text)
    if not 0 < value < math.inf:
        raise argparse.ArgumentTypeError(f"{text}: expected a number over 0")
    return value


def count(text: str) -> int:
    """A number of bindings, tunnels or runs, for argparse."""
    value = int(text)
    if not 1 <= value <= VARIANTS_MAX:
        raise argparse.ArgumentTypeError(f"{text}: expected 1 to {VARIANTS_MAX}")
    return value


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What all methods have in common."""
    parser.add_argument("--device", choices=DEVICES, default="dstm-afxdp", help="on this machine")
    parser.add_argument(
        "--ports",
        nargs=2,
        metavar=("PORT6", "PORT4"),
        help="two interfaces of this machine with a device of yours between them",
    )
    parser.add_argument(
        "--macs", nargs=2, metavar=("MAC6", "MAC4"), help="the device's, where PORT6 and PORT4 end"
    )
    parser.add_argument(
        "--dual", action="store_true", help="two devices between the ports: IPv4 on both sides"
    )
    parser.add_argument(
        "--realtime",
        action="store_true",
        help="nothing else gets the worker's CPU, for trials of less than a second",
    )
    parser.add_argument("--frames", type=parse, default=parse("64"), help="64,128,...,imix; or rfc")
    parser.add_argument("--direction", choices=("encap", "decap", "both"), default="encap")
    parser.add_argument(
        "--seconds",
        type=positive,
        help=f"of a trial (RFC 2544: 60; default {TRIAL_S:g}, --realtime {LONGEST_S:g})",
    )
    parser.add_argument("--runs", type=count, default=3, help="of every measurement (default 3)")
    parser.add_argument("--bindings", type=count, default=256, help="in the device (default 256)")
    parser.add_argument(
        "--tunnels", type=count, help="that frames use; a power of two (default all)"
    )
    parser.add_argument(
        "--line-rate", type=positive, metavar="GBITS", help="of slower port, Gbit/s"
    )
    parser.add_argument(
        "--rfc", action="store_true", help="as long and as often as the RFCs want: hours"
    )
    parser.add_argument("--quick", action="store_true", help="short, to see that it works")


def settle_arguments(args: argparse.Namespace) -> None:
    """Let --rfc, --quick and --realtime have their way; ValueError for what cannot be."""
    if args.seconds is None:
        args.seconds = LONGEST_S if args.realtime else TRIAL_S
    if args.rfc:
        args.runs, args.seconds, args.tries = RFC_RUNS, RFC_S, 1
    if args.quick:
        args.runs, args.seconds = 1, min(args.seconds, 0.2)
    if (args.ports is None) != (args.macs is None):
        raise ValueError("--ports and --macs belong together")
    if args.dual and args.ports is None and args.device != "wire":
        raise ValueError("--dual: give --ports; on this machine there is no second device")
    if args.device == "kernel" and args.bindings > KERNEL_MAX:
        raise ValueError(f"--bindings {args.bindings}: at most {KERNEL_MAX} kernel tunnels")


@contextlib.contextmanager
def opened(args: argparse.Namespace, bindings: int, tunnels: int | None = None) -> Iterator[Bench]:
    """A bench with so many bindings, of which frames use `tunnels` or all; frames pass already."""
    variants = power_of_two(bindings if tunnels is None else min(tunnels, bindings))
    with _joined(args, bindings, variants) as bench:
        for frames in args.frames:
            wait_forwarding(bench, Trial(frames, args.direction, burst=FIRST))
        yield bench


@contextlib.contextmanager
def _joined(args: argparse.Namespace, bindings: int, variants: int) -> Iterator[Bench]:
    if args.ports is not None:
        ports = dict(zip("64", args.ports, strict=True))
        macs = {s: (mac, mac_of(ports[s])) for s, mac in zip("64", args.macs, strict=True)}
        command = shlex.split(getattr(args, "reset_command", None) or "")
        with Tester(contextlib.nullcontext, ports, macs, variants, dual=args.dual) as tester:
            yield Bench(tester, Commanded(command), bindings, args.direction)
        return
    ports = {side: f"far{side}" for side in "64"}
    if args.device == "wire":
        with Lab() as lab:
            space = lab.namespace("tester")
            veth((space, "far6"), (space, "far4"), mtu=MTU)
            macs = {side: (MACS[f"port{side}"], MACS[f"far{side}"]) for side in "64"}
            with Tester(space.entered, ports, macs, variants, dual=args.dual) as tester:
                yield Bench(tester, NoReset("wire"), bindings, args.direction)
        return
    with Gateway(mtu=MTU, together=True) as gateway:
        macs = {side: (MACS[f"port{side}"], MACS[f"far{side}"]) for side in "64"}
        with (
            running(gateway, args.device, bindings, realtime=args.realtime) as device,
            Tester(gateway.far6.entered, ports, macs, variants, dual=args.dual) as tester,
        ):
            yield Bench(tester, device, bindings, args.direction)


def wait_forwarding(bench: Bench, trial: Trial) -> None:
    """Return when everything arrives of a few frames; ValueError if it never does."""
    deadline = time.monotonic() + START_S
    while True:
        outcome = bench.tester.run(trial)
        if outcome.loss == 0:
            return
        if time.monotonic() > deadline:
            got = {way.value: f"{s.received} of {s.sent}" for way, s in outcome.streams.items()}
            name = f"{bench.device.name}, frames {trial.frames.name}"
            raise ValueError(f"{name}: nothing to measure, arrived were {got}")


def power_of_two(number: int) -> int:
    """The largest one that is not larger."""
    return 1 << (number.bit_length() - 1)
