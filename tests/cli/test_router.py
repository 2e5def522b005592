from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from dstmrouter.cli.router import main
from tests.cli.inside import inside
from tests.config.documents import ROUTER

if TYPE_CHECKING:
    import subprocess
    from pathlib import Path


def dstm_router(*arguments: str) -> subprocess.CompletedProcess[str]:
    return inside(main, *arguments)


@pytest.fixture
def config(tmp_path: Path) -> Path:
    file = tmp_path / "router.toml"
    file.write_text(ROUTER)
    return file


def test_help_names_the_commands() -> None:
    shown = dstm_router("--help")
    assert shown.returncode == 0
    for word in ("run", "check-config", "compile", "replay", "--version", "dstmctl"):
        assert word in shown.stdout


def test_check_config_says_what_is_forwarded(config: Path) -> None:
    shown = dstm_router("check-config", "--config", str(config))
    assert shown.returncode == 0
    assert shown.stdout == f"{config}: good; ports eth0 (auto); pools 203.0.113.0/24\n"


def test_compile_says_where_the_code_is() -> None:
    shown = dstm_router("compile")
    assert shown.returncode == 0
    assert "kept in" in shown.stdout.splitlines()[-1]


@pytest.mark.parametrize("command", ["run", "check-config"])
@pytest.mark.parametrize(
    ("before", "after", "problem"),
    [
        ('name = "gw1"', 'nam = "gw1"', "[router] nam = "),
        ("2001:db8:f::1", "fe80::1", '[tunnel] tep6 #1 = "fe80::1": expected a global'),
        ("[tunnel]", "[umem]\nrx_slots = 1000\n[tunnel]", "[umem] rx_slots = 1000: expected a"),
        ("[tunnel]", 'filter_in = "udp prot"\n[tunnel]', "[[port]] #1 filter_in: filter 'udp prot"),
    ],
)
def test_wrong_configuration_is_told_in_lines_with_exit_code_2(
    config: Path, command: str, before: str, after: str, problem: str
) -> None:
    config.write_text(ROUTER.replace(before, after))
    shown = dstm_router(command, "--config", str(config))
    assert shown.returncode == 2
    assert problem in shown.stderr
    assert all(line.startswith(f"{config}: ") for line in shown.stderr.splitlines())


def test_missing_file_is_one_line() -> None:
    shown = dstm_router("run", "--config", "/nonexistent/router.toml")
    assert shown.returncode == 2
    assert shown.stderr == "/nonexistent/router.toml: No such file or directory\n"
