"""The demo's hosts, commands and checks: false claims are noticed."""

from __future__ import annotations

import signal
from functools import partial
from typing import TYPE_CHECKING

import pytest

from dstmrouter.errors import ControlError
from lab.demo_checks import Checks
from lab.demo_screen import Screen, StepError
from lab.demo_stage import Stage
from lab.netns import wait_until
from lab.topology import HOST4

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.netns


@pytest.fixture(scope="module")
def stage() -> Iterator[Stage]:
    with Stage(Screen()) as made:
        yield made


@pytest.fixture
def checks(stage: Stage) -> Checks:
    return Checks(Screen(), stage)


def test_commands_find_our_programs(stage: Stage) -> None:
    code, text = stage.enter("server", "dstmctl", "--version")
    assert code == 0
    assert text.startswith("dstmctl ")
    code, text = stage.enter("server", "dstmctl", "leases")
    assert code == 1
    assert str(stage.directory) in text


def test_who_does_not_answer_is_an_error(stage: Stage) -> None:
    with pytest.raises(ControlError):
        stage.ask("router", "status")


def test_a_daemon_writes_a_log_and_ends_by_sigterm(stage: Stage) -> None:
    stage.start("shell", "host4", "sh", "-c", "trap 'exit 3' TERM; echo hello; sleep 60 & wait")
    wait_until(lambda: "hello" in stage.log("shell").read_text(), "its greeting")
    assert "--- shell.log\nhello" in stage.last_words()
    assert stage.stop("shell") == 3


def test_a_killed_daemon_can_be_started_again_and_its_log_goes_on(stage: Stage) -> None:
    for lines in (1, 2):
        process = stage.start("killed", "host4", "sh", "-c", "echo hello; exec sleep 60")
        greetings = "hello\n" * lines
        wait_until(partial(written, stage.log("killed"), greetings), "its greeting")
        stage.kill("killed")
        assert process.returncode == -signal.SIGKILL


def written(log: Path, text: str) -> bool:
    return log.read_text() == text


def test_a_client_that_does_not_run_has_no_status(stage: Stage) -> None:
    assert stage.client("client1") == {}


def test_pings_are_claims(checks: Checks) -> None:
    checks.ping("router", HOST4, "answered")
    checks.ping("router", "198.51.100.9", "silent", answered=False)
    with pytest.raises(StepError, match="silent"):
        checks.ping("router", HOST4, "silent", answered=False)
    with pytest.raises(StepError, match="answered"):
        checks.ping("client1", HOST4, "answered")


def test_a_download_that_differs_is_noticed(checks: Checks, stage: Stage) -> None:
    with pytest.raises(StepError, match="sha256"):
        checks.download("router", HOST4, "0" * 64)
    assert not (stage.directory / "download").exists()


def test_a_configuration_that_is_wrong_is_noticed(checks: Checks) -> None:
    with pytest.raises(StepError, match=r"router\.toml"):
        checks.configure("router", "[router]\n")
