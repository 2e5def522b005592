from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Annotated

import pytest
import typer

from dstmrouter import __version__
from dstmrouter.cli.program import run_program, version_option
from dstmrouter.errors import ConfigError, DstmError


def program(error: BaseException | None = None) -> typer.Typer:
    app = typer.Typer()

    @app.command()
    def work(_version: Annotated[bool, version_option("dstm-x")] = False) -> None:
        if error is not None:
            raise error

    return app


@pytest.mark.parametrize(
    ("error", "code", "line"),
    [
        (None, 0, ""),
        (ConfigError("x.toml: wrong"), 2, "x.toml: wrong\n"),
        (DstmError("no answer"), 1, "dstm-x: no answer\n"),
        (KeyboardInterrupt(), 130, ""),
    ],
)
def test_errors_are_a_line_and_a_code(
    error: BaseException | None, code: int, line: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        run_program(program(error), "dstm-x", [])
    assert (ended.value.code or 0) == code
    assert capsys.readouterr().err.replace("Aborted.\n", "") == line


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        run_program(program(), "dstm-x", ["--version"])
    assert ended.value.code == 0
    assert capsys.readouterr().out == f"dstm-x {__version__}\n"


@pytest.mark.parametrize("name", ["dstm-router", "dstm-server", "dstm-client", "dstmctl"])
def test_installed_programs_start(name: str) -> None:
    words = [str(Path(sys.executable).with_name(name)), "--version"]
    done = subprocess.run(words, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout) == (0, f"{name} {__version__}\n")


@pytest.mark.parametrize(
    ("module", "unwanted"),
    [
        ("dstmrouter.cli.ctl", {"pydantic", "psycopg", "pyroute2"}),
        ("dstmrouter.cli.server", {"psycopg", "pyroute2", "dstmrouter.config.router"}),
        ("dstmrouter.cli.router", {"dpkt", "psycopg", "numba", "dstmrouter.config.server"}),
        ("dstmrouter.cli.client", {"pydantic", "numpy", "zmq"}),
        ("dstmrouter.daemon.worker", {"pydantic", "pyroute2", "zmq", "typer", "numba"}),
    ],
)
def test_a_start_waits_for_no_package_that_it_may_not_need(module: str, unwanted: set[str]) -> None:
    code = f"import sys, {module}; print(*sys.modules)"
    words = [sys.executable, "-c", code]
    done = subprocess.run(words, capture_output=True, text=True, timeout=60, check=True)
    assert module in done.stdout.split()
    assert unwanted & set(done.stdout.split()) == set()
