"""The life of a lease, shown: `make demo` or `python -m lab.demo`, as root.

Six hosts out of network namespaces, the three daemons and the real programs in them. Every step
says what is typed, what came out, and ok or FAILED. Exit code 0 if every step held, 1 if not, 2 if
the machine is not fit for it.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import sys
import time
from typing import TYPE_CHECKING, Final, NoReturn

from dstmrouter.errors import DstmError
from lab.demo_acts import ACTS
from lab.demo_checks import Checks
from lab.demo_scene import Scene
from lab.demo_screen import Screen, StepError
from lab.demo_stage import Stage
from lab.netns import LabError, wait_until

if TYPE_CHECKING:
    from types import FrameType

    from lab.demo_traces import Traces

NEEDED: Final = ("ip", "ethtool", "ping", "curl", "openssl")
GONE_S: Final = 10.0  # the kernel frees BPF programs and namespaces a little later


def why_not() -> str | None:
    """Why the demo cannot run here, or None."""
    if os.geteuid() != 0:
        return "namespaces and AF_XDP need root"
    missing = [program for program in NEEDED if shutil.which(program) is None]
    return f"not installed: {', '.join(missing)}; `make demo` installs it" if missing else None


def play(screen: Screen) -> Traces:
    """Run all acts; returns what must be gone now, also when one failed.

    A failure is on the screen, together with the ends of the daemons' logs.
    """
    with Stage(screen) as stage:
        try:
            for act in ACTS:
                act(Scene(screen, stage, Checks(screen, stage)))
        except (StepError, LabError, DstmError, OSError) as error:
            screen.failed(f"{error}\n{stage.last_words()}")
    return stage.traces


def check_end(screen: Screen, traces: Traces) -> None:
    """Claim that nothing is left; StepError otherwise."""
    screen.step("Nothing stays behind")
    try:
        wait_until(lambda: not traces.left(), "end of everything", GONE_S)
    except LabError:
        screen.failed("\n".join(traces.left()))
    screen.check(f"{len(traces.namespaces)} namespaces are gone", not traces.namespaces_left())
    screen.check(f"{len(traces.pids)} processes have ended", not traces.processes_left())
    screen.check(f"{len(traces.bpf)} BPF programs, maps, links are freed", not traces.bpf_left())
    screen.check("the directory with all files is removed", not traces.left())


def main() -> int:
    """Run the demo; returns the exit code."""
    if (reason := why_not()) is not None:
        print(f"demo: {reason}", file=sys.stderr)
        return 2
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, _interrupted)
    screen = Screen()
    screen.title("dstm-router: IPv4 for IPv6-only hosts")
    began = time.monotonic()
    traces = play(screen)
    with contextlib.suppress(StepError):  # it is on the screen and counted
        check_end(screen, traces)
    screen.sum_up(time.monotonic() - began)
    return 1 if screen.failures else 0


def _interrupted(number: int, _frame: FrameType | None) -> NoReturn:
    """Leave as after an error, so that everything is undone."""
    sys.exit(128 + number)


if __name__ == "__main__":
    sys.exit(main())
