"""`python -m perf SUBCOMMAND ...`: the benches, and what is done with their results.

A subcommand is a module of one of two kinds. One with `main(argv)` does everything itself, and may
return an exit code. One with `add_arguments(parser)` and `measure(args, progress)` only measures:
its figures are printed and written here. `progress` takes lines for whoever waits.
"""

from __future__ import annotations

import argparse
import ast
import importlib
import importlib.util
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Sequence

SUBCOMMANDS: Final[dict[str, str]] = {
    "pipeline": "perf.pipeline",
    "fragments": "perf.fragments",
    "watching": "perf.watching",
    "runtime": "perf.runtime",
    "waking": "perf.waking",
    "churn": "perf.churn",
    "accounting": "perf.accounting",
    "usagefeed": "perf.usagefeed",
    "ratios": "perf.ratios",
    "wire": "perf.wire",
    "bindings": "perf.bindings",
    "leases": "perf.leases",
    "rfc8219": "perf.rfc8219",
    "aims": "perf.aims",
    "compare": "perf.compare",
    "plot": "perf.plots",
}
USAGE: Final = 2  # exit code


def progress(line: str) -> None:
    """Tell whoever waits, beside the results."""
    print(line, file=sys.stderr, flush=True)


def first_line(module: str) -> str | None:
    """What a module is, without running it; None if there is none."""
    spec = importlib.util.find_spec(module)
    if spec is None or spec.origin is None:
        return None
    text = ast.get_docstring(ast.parse(Path(spec.origin).read_text(encoding="utf-8"))) or ""
    return text.partition("\n")[0]


def usage() -> str:
    """All subcommands, each with what it does."""
    lines = {name: first_line(module) for name, module in SUBCOMMANDS.items()}
    listed = "\n".join(f"  {name:<10} {line}" for name, line in lines.items() if line is not None)
    return f"usage: python -m perf SUBCOMMAND [--help] ...\n\n{listed}"


def main(argv: Sequence[str] | None = None) -> int:
    """Run a subcommand; return its exit code."""
    words = sys.argv[1:] if argv is None else list(argv)
    if not words or words[0] in {"-h", "--help"}:
        print(usage())
        return 0 if words else USAGE
    module = SUBCOMMANDS.get(words[0])
    if module is None or importlib.util.find_spec(module) is None:
        print(f"perf: no subcommand {words[0]!r}\n{usage()}", file=sys.stderr)
        return USAGE
    found = importlib.import_module(module)
    if hasattr(found, "main"):
        return int(found.main(words[1:]) or 0)
    return measured(found, words)


def measured(module: Any, words: Sequence[str]) -> int:
    """Run a module that only measures."""
    from perf.results import add_output, report  # here, so that --help of all needs no packages

    name = words[0]
    description = module.__doc__.partition("\n")[0]
    parser = argparse.ArgumentParser(prog=f"perf {name}", description=description)
    module.add_arguments(parser)
    add_output(parser)
    args = parser.parse_args(words[1:])
    report(name, module.measure(args, progress), args)
    return 0


if __name__ == "__main__":
    sys.exit(main())
