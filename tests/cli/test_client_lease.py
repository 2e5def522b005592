from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from dstmrouter.cli.client import main
from tests.cli.inside import inside
from tests.config.test_client import CLIENT, CONF
from tests.config.test_legacy import CLIENT_ARGS

if TYPE_CHECKING:
    import subprocess
    from pathlib import Path


def dstm_client(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return inside(main, *arguments)


def test_check_config_says_whom_it_asks_and_what_it_sends() -> None:
    shown = dstm_client("check-config", "-c", CONF / "client.toml")
    assert (shown.returncode, shown.stderr) == (0, "")
    assert shown.stdout.splitlines() == [
        "asks dstm.example.net over tsps, tsp, rpc",
        "sends 0.0.0.0/0 through dti0",
        f"{CONF / 'client.toml'}: good",
    ]


def test_check_config_says_that_a_share_is_wanted_and_whom_that_leaves(tmp_path: Path) -> None:
    file = tmp_path / "client.toml"
    file.write_text(CLIENT + "[lease]\npsid_len = 6\n")
    shown = dstm_client("check-config", "-c", file)
    assert shown.stdout.splitlines()[:2] == [
        "asks dstm.example.net over rpc",
        "wants one of 2^6 shares of an address",
    ]
    file.write_text(CLIENT.replace("[tunnel]", 'protocols = ["tsp"]\n[lease]\npsid_len = 6\n'))
    shown = dstm_client("check-config", "-c", file)
    assert shown.returncode == 2
    assert "[lease] psid_len = 6: expected 0, or rpc or rpc-udp in [servers] protocols" in (
        shown.stderr
    )


def test_the_file_of_enst_is_taken_as_it_is(tmp_path: Path) -> None:
    args = tmp_path / "dstmd.args"
    args.write_text(CLIENT_ARGS)
    shown = dstm_client("check-config", "--args", args)
    assert shown.stdout.splitlines()[0] == "asks 2001:db8:402:2::1 over tsp"
    args.write_text("port=3545\n")
    shown = dstm_client("run", "--args", args)
    assert (shown.returncode, shown.stderr) == (2, f"{args}: tspserver: missing\n")


@pytest.mark.parametrize("command", ["run", "check-config"])
def test_wrong_files_are_told_in_lines_with_exit_code_2(tmp_path: Path, command: str) -> None:
    file, password = tmp_path / "client.toml", tmp_path / "password"
    password.write_text("secret")
    password.chmod(0o644)
    tables = f'[credentials]\nuser = "alice"\npassword_file = "{password}"\n'
    file.write_text(CLIENT + tables)
    shown = dstm_client(command, "-c", file)
    assert shown.returncode == 2
    assert shown.stderr == (f"{password}: mode 0644, expected 0600: others may read the secret\n")
    file.write_text(CLIENT.replace("hosts", "host"))
    shown = dstm_client(command, "-c", file)
    assert shown.returncode == 2
    assert shown.stderr.splitlines()[0].startswith(f"{file}: [servers] host = ")


def test_a_log_file_that_cannot_be(tmp_path: Path) -> None:
    file = tmp_path / "client.toml"
    file.write_text(CLIENT + f'[client]\nlog_file = "{tmp_path}"\n')
    shown = dstm_client("run", "-c", file)
    assert (shown.returncode, shown.stderr) == (2, f"{tmp_path}: Is a directory\n")
