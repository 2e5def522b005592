from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from dstmrouter.cli.server import main
from tests.cli.inside import inside
from tests.config.test_legacy import CONF, SERVER_ARGS

if TYPE_CHECKING:
    import subprocess
    from pathlib import Path

GOOD = """
[server]
name = "leases1"
[[pool]]
name = "main"
prefix = "192.0.2.0/28"
exclude = ["192.0.2.0"]
[tep]
tep6 = ["2001:db8:f::1"]
tep4 = "192.0.2.1"
"""


def dstm_server(*arguments: str) -> subprocess.CompletedProcess[str]:
    return inside(main, *arguments)


@pytest.fixture
def config(tmp_path: Path) -> Path:
    file = tmp_path / "server.toml"
    file.write_text(GOOD)
    return file


def test_help_names_the_commands() -> None:
    shown = dstm_server("--help")
    assert shown.returncode == 0
    for word in ("run", "check-config", "--version", "dstmctl"):
        assert word in shown.stdout


def test_check_config_says_what_is_lent(config: Path) -> None:
    shown = dstm_server("check-config", "--config", str(config))
    assert shown.returncode == 0
    assert shown.stdout.splitlines() == [
        "pool main: 14 addresses",  # 16 without the excluded one and tep4
        f"{config}: good, 14 addresses in 1 pools",
    ]


def test_check_config_counts_port_sets(config: Path) -> None:
    config.write_text(config.read_text().replace("[tep]", "psid_len = 6\n[tep]"))
    shown = dstm_server("check-config", "--config", str(config))
    assert shown.stdout.splitlines()[0] == "pool main: 14 addresses, 882 port sets"


@pytest.mark.parametrize("command", ["run", "check-config"])
@pytest.mark.parametrize(
    ("before", "after", "problem"),
    [
        ('name = "leases1"', "nam = 1", "[server] nam = 1: unknown key, expected name"),
        ("192.0.2.0/28", "192.0.2.1/28", "expected a prefix without host bits, 192.0.2.0/28"),
        ("2001:db8:f::1", "fe80::1", '[tep] tep6 #1 = "fe80::1": expected a global'),
    ],
)
def test_wrong_configuration_is_told_in_lines_with_exit_code_2(
    config: Path, command: str, before: str, after: str, problem: str
) -> None:
    config.write_text(GOOD.replace(before, after))
    shown = dstm_server(command, "--config", str(config))
    assert shown.returncode == 2
    assert problem in shown.stderr
    assert all(line.startswith(f"{config}: ") for line in shown.stderr.splitlines())


def test_pool_with_no_address_left_is_a_configuration_error(config: Path) -> None:
    config.write_text(GOOD.replace("/28", "/31"))
    shown = dstm_server("check-config", "--config", str(config))
    assert shown.returncode == 2
    assert shown.stderr == f"{config}: pool main: no address is left\n"


def test_missing_file_is_one_line() -> None:
    shown = dstm_server("run", "--config", "/nonexistent/server.toml")
    assert shown.returncode == 2
    assert shown.stderr == "/nonexistent/server.toml: No such file or directory\n"


def test_missing_key_file_is_found_by_check_config(config: Path) -> None:
    config.write_text(f'{GOOD}[curve]\nsecret_key_file = "/nonexistent/key"\n')
    shown = dstm_server("check-config", "--config", str(config))
    assert shown.returncode == 2
    assert shown.stderr == "/nonexistent/key: No such file or directory\n"


def test_the_files_of_enst_are_taken_as_they_are(tmp_path: Path) -> None:
    conf, args = tmp_path / "rpcdstmd.conf", tmp_path / "rpcdstmd.args"
    conf.write_text(CONF)
    args.write_text(SERVER_ARGS)
    shown = dstm_server("check-config", "--rpcdstmd-conf", str(conf), "--args", str(args))
    assert (shown.returncode, shown.stderr) == (0, "")
    assert shown.stdout.splitlines()[-1] == f"{conf}: good, 200 addresses in 1 pools"
    args.write_text("tsp=0\n")
    shown = dstm_server("run", "--rpcdstmd-conf", str(conf), "--args", str(args))
    assert shown.returncode == 2
    assert shown.stderr == f"{args}: line 1: tsp 0: expected an integer between 1 and 65535\n"


def test_args_alone_are_no_configuration() -> None:
    shown = dstm_server("run", "--args", "/nonexistent")
    assert (shown.returncode, shown.stderr) == (2, "--args: expected --rpcdstmd-conf as well\n")


def test_password_in_the_configuration_is_refused_and_not_repeated(config: Path) -> None:
    text = config.read_text().replace(
        "[tep]", '[store]\npostgresql = "host=db password=hunter2"\n[tep]', 1
    )
    config.write_text(text)
    for command in ("run", "check-config"):
        shown = dstm_server(command, "--config", str(config))
        assert (shown.returncode, shown.stdout) == (2, "")
        assert shown.stderr.startswith(f"{config}: [store] postgresql: expected")
        assert "hunter2" not in shown.stderr
