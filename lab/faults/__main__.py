"""Faults on server and routers; exit code 0 if all held, 1 if not, 2 if it cannot run here."""

from __future__ import annotations

import argparse
import dataclasses
import os
import signal
import sys
import time
from functools import partial
from typing import Final

from dstmrouter.cli.logs import log_to_stderr
from lab.faults.run import Run
from lab.netns import LabError

MEANINGS: Final = {
    "faults": "faults, all repaired",
    "grants": "leases granted to guests; every required router had them when they were answered",
    "refusals": "requests of guests that were refused or not answered",
    "renewals": "renewals of the lasting clients' leases",
    "echoes": "datagrams sent by the lasting clients",
    "excused": "of these, lost while their own router was dead or cut off",
    "echoes_lost": "lost one by one while their own router was well",
    "looks": "times that all tables were compared",
    "duplicates": "addresses seen with two holders",
    "early_grants": "grants that a required router did not have",
    "leases_lost": "times that a lasting client was seen without its address",
    "stops": "times that forwarding stopped while a router was well",
}


def main() -> int:
    """Play and print; returns the exit code."""
    parser = argparse.ArgumentParser(prog="lab.faults", description=__doc__)
    parser.add_argument("--faults", type=int, default=20, help="how many (20)")
    parser.add_argument("--seed", type=int, default=1, help="another order of faults (1)")
    options = parser.parse_args()
    if os.geteuid() != 0:
        print("faults: namespaces and AF_XDP need root", file=sys.stderr)
        return 2
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))  # undoes everything
    log_to_stderr("warning", "console")
    began = time.monotonic()
    try:
        judge = Run(options.faults, options.seed, partial(print, flush=True)).play()
    except LabError as error:
        print(f"faults: {error}", file=sys.stderr)
        return 1
    for name, value in dataclasses.asdict(judge.figures).items():
        print(f"{value:8}  {MEANINGS[name]}")
    for problem in judge.problems[:20]:
        print(f"WRONG: {problem}")
    print(f"{time.monotonic() - began:8.0f}  seconds, seed {options.seed}")
    return 1 if judge.problems else 0


if __name__ == "__main__":
    sys.exit(main())
