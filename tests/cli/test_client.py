from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
import structlog

from dstmrouter import __version__
from dstmrouter.cli.client import main, with_command
from dstmrouter.dti.counters import Counters
from dstmrouter.dti.state import State
from dstmrouter.dti.tunnel import Kind, Tunnel
from dstmrouter.dti.verdict import Verdict
from tests.dti.conftest import CLIENT4, CLIENT6, TEP6

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

LEASE = ["--client4", str(CLIENT4), "--client6", str(CLIENT6), "--tep6", str(TEP6)]


@pytest.fixture(autouse=True)
def own_log_settings() -> Iterator[None]:
    """The program logs to the standard error it finds; here that ends with each test."""
    yield
    structlog.reset_defaults()


def run(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> Any:
    """Run the program with `arguments`; returns its exit code."""
    monkeypatch.setattr("sys.argv", ["dstm-client", *arguments])
    with pytest.raises(SystemExit) as ended:
        main()
    return ended.value.code


@pytest.mark.parametrize(
    ("given", "meant"),
    [
        (["--static", "--mtu", "1400"], ["run", "--static", "--mtu", "1400"]),
        (["run", "--static"], ["run", "--static"]),
        (["down"], ["down"]),
        (["--version"], ["--version"]),
        (["--help"], ["--help"]),
        ([], []),
    ],
)
def test_options_without_a_command_mean_run(given: list[str], meant: list[str]) -> None:
    assert with_command(given) == meant


def test_version(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(monkeypatch, "--version") == 0
    assert capsys.readouterr().out == f"dstm-client {__version__}\n"


def test_help_names_every_command(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(monkeypatch, "--help") == 0
    said = capsys.readouterr().out
    assert all(command in said for command in ("run", "check-config", "down", "status"))


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        ([*LEASE[:-1], "fe80::1"], "tep6 fe80::1 is a link-local address"),
        ([*LEASE, "--mtu", "100"], "mtu 100: expected 576 to 65495"),
        ([*LEASE, "--dti-name", "../x"], "expected an interface name"),
        ([*LEASE, "--route", "192.0.2.1/24"], "without host bits"),
        ([*LEASE[:-1], "192.0.2.1"], "expected IPv6 address"),
        ([*LEASE, "--port-set", "6/8"], "expected port-set like 6/8/52"),
        ([*LEASE, "--port-set", "6/8/256"], "expected port-set like 6/8/52"),
        ([*LEASE, "--no-such-option"], "No such option"),
    ],
)
@pytest.mark.parametrize("command", [[], ["run"], ["check-config"]])
def test_wrong_options_are_exit_code_2(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    command: list[str],
    arguments: list[str],
    complaint: str,
) -> None:
    assert run(monkeypatch, *command, "--static", *arguments) == 2
    assert complaint in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        (LEASE, "--client4, --client6, --tep6 and --port-set are for --static"),
        (["--static", *LEASE[:-2]], "--static: expected --client4, --client6 and --tep6 as well"),
        (["--static", "-c", "x"], "--static takes its lease from options, not from a file"),
        (["-c", "/nonexistent/c.toml"], "/nonexistent/c.toml: No such file or directory"),
        (["-c", "x", "--args", "y"], "expected --config or --args, not both"),
    ],
)
def test_where_the_lease_comes_from(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    options: list[str],
    complaint: str,
) -> None:
    assert run(monkeypatch, *options) == 2
    assert capsys.readouterr().err == f"{complaint}\n"


def test_check_config_refuses_what_run_would(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    options = ["--static", *LEASE, "--run-dir", str(tmp_path)]
    assert run(monkeypatch, "check-config", *options) == 1
    assert capsys.readouterr().err == (
        "dstm-client: client6 2001:db8::7 is no address of this host\n"
    )


@pytest.fixture
def killed(tmp_path: Path) -> Path:
    """The files of a client that was killed after it had delivered a packet of 100 octets."""
    tunnel = Tunnel(client4=CLIENT4, client6=CLIENT6, tep6=TEP6)
    (tmp_path / "dti0.json").write_text(State.of_this_process(tunnel, Kind.TUN).encode())
    counters = Counters(tmp_path / "dti0.counters")
    counters.count(Verdict.IN_DELIVERED, 100)
    counters.close()
    return tmp_path


def test_status_for_scripts(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], killed: Path
) -> None:
    assert run(monkeypatch, "status", "--json", "--run-dir", str(killed)) == 0
    status = json.loads(capsys.readouterr().out)
    assert (status["name"], status["running"], status["client4"]) == ("dti0", False, str(CLIENT4))
    assert status["ends"]["tep6"] == str(TEP6)
    assert status["counters"]["in_delivered"] == {"packets": 1, "octets": 100}


def test_status_for_people(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], killed: Path
) -> None:
    assert run(monkeypatch, "status", "--run-dir", str(killed)) == 0
    said = capsys.readouterr().out
    assert "dti0: tun, not running (killed?)" in said
    assert "in_delivered" in said


def test_down_removes_the_files_of_a_killed_client(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], killed: Path
) -> None:
    assert run(monkeypatch, "down", "--run-dir", str(killed)) == 0
    assert capsys.readouterr().out == "dti0: nothing to remove\n"
    assert list(killed.iterdir()) == []
    assert run(monkeypatch, "status", "--run-dir", str(killed)) == 1
    assert capsys.readouterr().err == "dstm-client: no dstm-client has dti0\n"
