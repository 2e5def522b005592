from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from dstmrouter.errors import ControlError
from lab.netns import PATIENCE_S
from tests.cli.daemons import Daemon
from tests.cli.test_ctl import ask
from tests.zmqctl.sockets import control_in_thread

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

MAIN = "from dstmrouter.cli.ctl import main; main()"


@pytest.fixture
def router(tmp_path: Path) -> Iterator[str]:
    handlers = Daemon().handlers("counters")
    with control_in_thread(f"ipc://{tmp_path}/c", handlers=handlers) as server:
        yield server.endpoint


def test_counters_that_are_zero_are_left_out(router: str) -> None:
    text = ask("counters", "--router", router)
    assert "encapsulated" in text
    assert "64,000" in text
    assert "sent to a client" in text
    assert "hairpin" not in text
    assert "hairpin" in ask("counters", "--router", router, "--all")


def test_counters_for_scripts(router: str) -> None:
    answer = json.loads(ask("counters", "--router", router, "--json"))
    assert [row["name"] for row in answer["verdicts"]] == ["encapsulated", "hairpin"]


def test_answer_without_verdicts(tmp_path: Path) -> None:
    daemon = Daemon()
    with (
        control_in_thread(
            f"ipc://{tmp_path}/c", handlers={"counters": daemon.handlers("status")["status"]}
        ) as server,
        pytest.raises(ControlError, match="no list of verdicts"),
    ):
        ask("counters", "--router", server.endpoint)


def test_watch_prints_rates_until_interrupted(router: str) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", MAIN, "counters", "--router", router, "--watch", "--every", "0.1",
         "--json"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as watcher:  # fmt: skip
        assert watcher.stdout is not None
        looks = [json.loads(watcher.stdout.readline()) for _ in range(3)]
        watcher.send_signal(signal.SIGINT)
        _, errors = watcher.communicate(timeout=PATIENCE_S)
    assert all(look["verdicts"][0]["packets_per_s"] > 0 for look in looks)
    assert watcher.returncode == 130
    assert "Traceback" not in errors


def test_watch_in_a_terminal_redraws(router: str) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", MAIN, "counters", "--router", router, "--watch", "--every", "0.1"],
        stdout=subprocess.PIPE,
        text=True,
        env=os.environ | {"FORCE_COLOR": "1", "COLUMNS": "120"},
    ) as watcher:
        assert watcher.stdout is not None
        lines = iter(watcher.stdout.readline, "")
        seen = sum("encapsulated" in line for line, _ in zip(lines, range(20), strict=False))
        watcher.send_signal(signal.SIGINT)
        watcher.communicate(timeout=PATIENCE_S)
    assert seen >= 2
