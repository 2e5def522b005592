from __future__ import annotations

import json
import signal
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

from dstmrouter.cli.ctl_runtime import UNKNOWN, estimate, since
from dstmrouter.errors import ControlError
from tests.cli.daemons import Daemon
from tests.cli.test_ctl import ask
from tests.cli.test_ctl_counters import MAIN
from tests.zmqctl.sockets import control_in_thread

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

US = 1000


def step(name: str, calls: int, packets: int, ns: int, **facts: bool) -> dict[str, Any]:
    about = {"name": name, "help": f"help of {name}", "exact": False, "idle": False}
    return about | {"calls": calls, "packets": packets, "ns": ns} | facts


def worker(scale: int = 1) -> dict[str, Any]:
    """Of 1,000 us it slept 400 and told for 100; 4 of 40 turns are measured, of 20 us in all."""
    steps = [
        step("RECEIVE", 2 * scale, 20 * scale, 5 * US * scale),
        step("SEND", 1 * scale, 20 * scale, 10 * US * scale),
        step("EMPTY", 3 * scale, 0, 5 * US * scale, idle=True),
        step("NEVER", 0, 0, 0),
        step("TELL", 1 * scale, 0, 100 * US * scale, exact=True),
        step("WAIT", 5 * scale, 0, 400 * US * scale, exact=True, idle=True),
    ]
    sums = {"all_ns": 1000 * US * scale, "turns": 40 * scale, "measured_turns": 4 * scale}
    return {"worker": 0, **sums, "timeouts": 2 * scale, "steps": steps}


def rows(found: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {row["name"]: row for row in found["steps"]}


def test_measured_turns_stand_for_all_and_exact_steps_for_themselves() -> None:
    found = estimate(worker())
    receive = rows(found)["RECEIVE"]
    assert (receive["calls"], receive["packets"]) == (20, 200)  # ten times
    assert receive["ns"] == 125 * US  # a quarter of what exact steps leave
    assert (receive["packets_per_call"], receive["ns_per_call"]) == (10, 6250)
    assert receive["ns_per_packet"] == 625
    assert receive["share"] == 0.125
    wait = rows(found)["WAIT"]
    assert (wait["calls"], wait["ns"], wait["share"]) == (5, 400 * US, 0.4)
    assert sum(row["share"] for row in found["steps"]) == pytest.approx(1)
    assert found["idle_share"] == 0.525
    assert found["turns"] == 40


def test_two_looks_differ_by_what_was_between_them() -> None:
    between = since(worker(3), worker(2))
    assert between == worker()


def test_a_worker_of_which_no_turn_was_measured() -> None:
    quiet = worker() | {"measured_turns": 0, "turns": 3}
    for one in quiet["steps"]:
        if not one["exact"]:
            one.update(calls=0, packets=0, ns=0)
    found = rows(estimate(quiet))
    assert found[UNKNOWN]["share"] == 0.5
    assert found["RECEIVE"]["share"] == 0


def test_a_worker_that_never_ran() -> None:
    never = since(worker(), worker())
    found = estimate(never)
    assert found["idle_share"] == 0
    assert all(row["share"] == row["ns_per_call"] == 0 for row in found["steps"])


class Router(Daemon):
    """Its worker goes on between any two looks."""

    looks = 0

    def runtime(self, _params: dict[str, Any]) -> dict[str, Any]:
        self.looks += 1
        return {"workers": [worker(self.looks)]}


@pytest.fixture
def router(tmp_path: Path) -> Iterator[str]:
    handlers = Router().handlers("runtime")
    with control_in_thread(f"ipc://{tmp_path}/c", handlers=handlers) as server:
        yield server.endpoint


def test_table_of_the_steps_that_were_taken(router: str) -> None:
    text = ask("runtime", "--router", router)
    assert "worker 0: 0.0 s, 52.5% idle; 40 turns, 4 of them measured" in text
    assert "slept 2 times in vain" in text
    assert [cell.strip() for cell in text.split("RECEIVE")[1].split("│")[1:7]] == [
        "20",
        "200",
        "10.0",
        "6,250",
        "625.0",
        "12.50%",
    ]
    assert "NEVER" not in text
    assert "NEVER" in ask("runtime", "--router", router, "--all")


def test_json_has_estimates_and_help(router: str) -> None:
    [found] = json.loads(ask("runtime", "--router", router, "--json"))["workers"]
    assert found == estimate(worker())
    assert rows(found)["SEND"]["help"] == "help of SEND"


def test_answer_without_workers(tmp_path: Path) -> None:
    handlers = {"runtime": Daemon().handlers("status")["status"]}
    with (
        control_in_thread(f"ipc://{tmp_path}/c", handlers=handlers) as server,
        pytest.raises(ControlError, match="no list of workers"),
    ):
        ask("runtime", "--router", server.endpoint)


def test_watch_shows_what_was_since_the_last_look(router: str) -> None:
    words = ("runtime", "--router", router, "--watch", "--every", "0.1", "--json")
    with subprocess.Popen(
        [sys.executable, "-c", MAIN, *words], stdout=subprocess.PIPE, text=True
    ) as watcher:
        assert watcher.stdout is not None
        looks = [json.loads(watcher.stdout.readline()) for _ in range(2)]
        watcher.send_signal(signal.SIGINT)
        watcher.communicate(timeout=20)
    assert looks == [{"workers": [estimate(worker())]}] * 2
    assert watcher.returncode == 130
