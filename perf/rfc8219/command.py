"""The command line of the methods: one subcommand for each, and `export`."""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING, Final, Protocol, cast

from dstmrouter.errors import DstmError
from lab.netns import LabError
from perf.gateway import settle_in
from perf.results import add_output, report
from perf.rfc8219 import (
    backtoback,
    bench,
    export,
    latency,
    loss,
    pdv,
    recovery,
    reset,
    scaling,
    throughput,
)
from perf.rfc8219.devices import push

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from perf.figures import Figure


class Method(Protocol):
    """What a module of a method has."""

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        """Its own options, besides those of all methods."""

    def measure(self, args: argparse.Namespace, progress: Callable[[str], None]) -> list[Figure]:
        """Its figures; `progress` takes lines for whoever waits."""


METHODS: Final = cast(
    "dict[str, Method]",
    {
        "throughput": throughput,
        "latency": latency,
        "pdv": pdv,
        "loss": loss,
        "back-to-back": backtoback,
        "recovery": recovery,
        "reset": reset,
        "scaling": scaling,
    },
)


def progress(line: str) -> None:
    """Tell whoever waits, beside the results."""
    print(line, file=sys.stderr, flush=True)


def run(argv: Sequence[str] | None) -> int:
    """Parse, measure, print; 2 for options that cannot be."""
    parser = argparse.ArgumentParser(prog="perf rfc8219", description=__doc__)
    commands = parser.add_subparsers(dest="method", required=True)
    for name, method in METHODS.items():
        module = sys.modules[method.__name__]  # type: ignore[attr-defined]  # a module
        sub = commands.add_parser(name, help=(module.__doc__ or "").partition("\n")[0])
        bench.add_arguments(sub)
        method.add_arguments(sub)
        add_output(sub)
    export.add_arguments(commands.add_parser("export", help="configuration of devices"))
    pushing = commands.add_parser("push", help="give a running dstm-router the bindings")
    pushing.add_argument("control", help="its endpoint, as ipc:///run/dstm-router/control")
    pushing.add_argument("--bindings", type=int, default=256)
    args = parser.parse_args(argv)
    try:
        return _run(args)
    except (DstmError, LabError, OSError, ValueError) as error:
        print(f"perf rfc8219: {error}", file=sys.stderr)
        return 2


def _run(args: argparse.Namespace) -> int:
    if args.method == "export":
        return export.run(args)
    if args.method == "push":
        push(args.control, args.bindings)
        return 0
    settle_in()
    figures = METHODS[args.method].measure(args, progress)
    report(f"RFC 8219, {args.method}", figures, args)
    return 0
