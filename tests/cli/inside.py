"""The programs as users call them, inside this process: one of its own takes 0.8 s of CPU to start.

That the installed programs start at all is for test_program.py.
"""

from __future__ import annotations

import contextlib
import io
import subprocess
from typing import TYPE_CHECKING, NoReturn
from unittest import mock

import pytest
import structlog

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


def inside(
    main: Callable[[], NoReturn], *arguments: str | Path, stdin: str = ""
) -> subprocess.CompletedProcess[str]:
    """Call `main` with a command line; what it wrote, and its exit code."""
    words = ["program", *map(str, arguments)]
    out, err = io.StringIO(), io.StringIO()
    with (
        mock.patch("sys.argv", words),
        mock.patch("sys.stdin", io.StringIO(stdin)),
        mock.patch.dict("os.environ", COLUMNS="200"),
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
        pytest.raises(SystemExit) as ended,
    ):
        main()
    structlog.reset_defaults()  # the program logs to what was its standard error
    code = ended.value.code or 0
    assert isinstance(code, int), code
    return subprocess.CompletedProcess(words, code, out.getvalue(), err.getvalue())
