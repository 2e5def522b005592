"""A `dstm-client` process in a namespace, for the tests that run real ones."""

from __future__ import annotations

import signal
import sys
from pathlib import Path

from lab.netns import Namespace, wait_until
from tests.dti.conftest import CLIENT4, CLIENT6, TEP4, TEP6

PROGRAM = Path(sys.executable).with_name("dstm-client")
LEASE = ("--client4", CLIENT4, "--client6", CLIENT6, "--tep6", TEP6, "--tep4", TEP4)
MIRROR = ("--client4", TEP4, "--client6", TEP6, "--tep6", CLIENT6, "--tep4", CLIENT4)


class Process:
    """A started `dstm-client`, up or refused."""

    def __init__(self, space: Namespace, run_dir: Path, *options: object) -> None:
        words = [str(word) for word in ("--run-dir", run_dir, *options)]
        self.log = run_dir.with_name(f"{run_dir.name}.log")
        with self.log.open("w") as log:
            self.process = space.popen(PROGRAM, "--static", *words, stdout=log, stderr=log)
        wait_until(self._settled, "client up or ended")

    def _settled(self) -> bool:
        return " up " in self.said() or self.process.poll() is not None

    def said(self) -> str:
        return self.log.read_text()

    def is_up(self) -> bool:
        return self.process.poll() is None

    def end(self, number: signal.Signals = signal.SIGTERM) -> int:
        self.process.send_signal(number)
        return self.process.wait(10)
