"""Feed codecs and the pipeline with octets that are nearly right.

`python -m tests.fuzz --inputs 1000000` feeds all of them, `python -m tests.fuzz call result` two.
"""

from __future__ import annotations

import argparse
import time
from typing import TYPE_CHECKING, Final

from tests.fuzz import frame_targets, rpc_targets

if TYPE_CHECKING:
    from tests.fuzz.target import Fuzzed

TARGETS: Final[tuple[Fuzzed, ...]] = (*rpc_targets.TARGETS, *frame_targets.TARGETS)


def main() -> None:
    """Run the command line; FuzzError with the input ends it."""
    names = [target.name for target in TARGETS]
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("targets", nargs="*", metavar="TARGET", help=", ".join(names))
    parser.add_argument("--inputs", type=int, default=100_000, help="for each target")
    parser.add_argument("--seed", type=int, default=0, help="another one gives other inputs")
    options = parser.parse_args()
    if unknown := set(options.targets) - set(names):
        parser.error(f"no target {', '.join(sorted(unknown))}")
    for target in TARGETS:
        if not options.targets or target.name in options.targets:
            began = time.monotonic()
            target.run(options.inputs, options.seed)
            took = time.monotonic() - began
            print(f"{target.name}: {options.inputs} inputs in {took:.1f} s, all handled")


if __name__ == "__main__":
    main()
