from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from typer.testing import CliRunner

from dstmrouter import __version__
from dstmrouter.cli.ctl import app
from dstmrouter.zmqctl import load_keys, write_keys
from tests.cli.daemons import METHODS, Daemon, dstmctl
from tests.config.documents import ROUTER, edited
from tests.zmqctl.sockets import Keys, control_in_thread

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def daemon() -> Daemon:
    return Daemon()


@pytest.fixture
def endpoint(tmp_path: Path, daemon: Daemon) -> Iterator[str]:
    with control_in_thread(f"ipc://{tmp_path}/c", handlers=daemon.handlers(*METHODS)) as server:
        yield server.endpoint


def ask(*arguments: str) -> str:
    """Text dstmctl prints, run in this process."""
    outcome = CliRunner().invoke(app, arguments, env={"COLUMNS": "200"}, catch_exceptions=False)
    assert outcome.exit_code == 0, outcome.output
    return outcome.output


def test_version_and_help() -> None:
    assert ask("--version") == f"dstmctl {__version__}\n"
    text = ask("--help")
    for command in ("status", "leases", "bindings", "counters", "ports", "keygen", "check-config"):
        assert command in text


def test_status_of_one_daemon(endpoint: str) -> None:
    text = ask("status", "--router", endpoint)
    for expected in ("router", "1 h 02 min", "healthy", "yes", "r1", "1.25 s"):
        assert expected in text
    assert "server" not in text


def test_status_for_scripts(endpoint: str) -> None:
    answer = json.loads(ask("status", "--server", endpoint, "--json"))
    assert list(answer) == ["server"]
    assert answer["server"]["epoch"] == "0102"


def test_leases_are_listed_with_fields_of_later_versions(endpoint: str, daemon: Daemon) -> None:
    text = ask("leases", "--server", endpoint, "--state", "active", "--limit", "1")
    for expected in ("1 of 30", "192.0.2.7", "2001:db8::7", "15 min 00 s", "colour", "blue"):
        assert expected in text
    assert daemon.asked == [("leases", {"offset": 0, "limit": 1, "state": "active"})]


def test_bindings_of_one_address(endpoint: str, daemon: Daemon) -> None:
    assert "2001:db8:f::1" in ask("bindings", "--router", endpoint, "--ipv4", "192.0.2.7")
    assert daemon.asked[0][1]["ipv4"] == "192.0.2.7"


def test_ports_show_kernel_statistics(endpoint: str) -> None:
    text = ask("ports", "--router", endpoint)
    assert "native-copy" in text
    assert "rx_dropped" in text
    assert "rx_ring_full" not in text, "what has not counted is not shown"


@pytest.mark.parametrize(
    ("command", "key"), [("leases", "leases"), ("bindings", "bindings"), ("ports", "ports")]
)
def test_lists_for_scripts(endpoint: str, command: str, key: str) -> None:
    option = "--server" if command == "leases" else "--router"
    assert len(json.loads(ask(command, option, endpoint, "--json"))[key]) == 1


def test_endpoint_from_the_environment(endpoint: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DSTM_SERVER", endpoint)
    assert "192.0.2.7" in ask("leases")


def test_over_tcp_with_keys(tmp_path: Path, daemon: Daemon) -> None:
    keys = Keys("admin")
    write_keys(keys.clients["admin"], tmp_path / "admin.key")
    with control_in_thread(
        "tcp://127.0.0.1:*", curve=keys.of_server(), handlers=daemon.handlers("leases")
    ) as server:
        access = ["--key", str(tmp_path / "admin.key"), "--peer-key", keys.server.public]
        assert "192.0.2.7" in ask(*access, "leases", "--server", server.endpoint)


def test_keygen_makes_a_pair_that_loads(tmp_path: Path) -> None:
    facts = json.loads(ask("keygen", str(tmp_path / "key"), "--json"))
    assert load_keys(tmp_path / "key").public == facts["public_key"]
    assert facts["public_key"] in (tmp_path / "key.pub").read_text()


@pytest.mark.parametrize("kind", ["router", "server"])
def test_check_config(kind: str) -> None:
    assert f"a good configuration of dstm-{kind}" in ask("check-config", f"conf/{kind}.toml")
    assert json.loads(ask("check-config", f"conf/{kind}.toml", "--json"))["kind"] == kind


def test_check_config_compiles_filters(tmp_path: Path) -> None:
    (tmp_path / "r.toml").write_text(edited(ROUTER, "[tunnel]", 'filter_out = "x y"\n[tunnel]'))
    outcome = dstmctl("check-config", str(tmp_path / "r.toml"))
    assert outcome.returncode == 2
    assert f"{tmp_path}/r.toml: [[port]] #1 filter_out: filter 'x y': " in outcome.stderr


def test_nobody_there_is_one_line_and_exit_code_1(tmp_path: Path) -> None:
    for command, option in (("status", "--router"), ("leases", "--server")):
        outcome = dstmctl(command, option, f"ipc://{tmp_path}/absent")
        assert outcome.returncode == 1
        assert outcome.stdout == ""
        line = f"dstmctl: ipc://{tmp_path}/absent: nobody listens there; is the daemon running?\n"
        assert outcome.stderr == line


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (("leases", "--server", "tcp://127.0.0.1:5"), "TCP needs CURVE keys"),
        (("--key", "/absent", "--peer-key", "x", "leases"), "/absent: No such file"),
        (("--key", "/absent", "leases"), "--key and --peer-key belong together"),
        (("check-config", "/absent.toml"), "/absent.toml: No such file"),
        (("keygen", "/absent/key"), "/absent/key: No such file"),
        (("nonsense",), "No such command"),
    ],
)
def test_wrong_settings_are_exit_code_2(arguments: tuple[str, ...], text: str) -> None:
    outcome = dstmctl(*arguments)
    assert outcome.returncode == 2
    assert text in outcome.stderr
    assert "Traceback" not in outcome.stderr


def test_refusal_is_one_line_and_exit_code_1(endpoint: str) -> None:
    outcome = dstmctl("lease", "grant", "fe80::1", "--server", endpoint)
    assert (outcome.returncode, outcome.stderr) == (1, "dstmctl: fe80::1: link-local\n")
