from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
import structlog

from dstmrouter.cli.logs import log_to_file, log_to_stderr
from dstmrouter.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture(autouse=True)
def unconfigured() -> Iterator[None]:
    yield
    structlog.reset_defaults()


def test_json_is_one_object_per_line(capsys: pytest.CaptureFixture[str]) -> None:
    log_to_stderr("info", "json")
    log = structlog.get_logger()
    log.info("serving", server="leases1")
    try:
        int("two\nlines")
    except ValueError:
        log.exception("failed")
    first, second = map(json.loads, capsys.readouterr().err.splitlines())
    assert (first["event"], first["server"], first["level"]) == ("serving", "leases1", "info")
    assert "invalid literal" in second["exception"][0]["exc_value"]


def test_level_is_kept(capsys: pytest.CaptureFixture[str]) -> None:
    log_to_stderr("warning", "console")
    log = structlog.get_logger()
    log.info("quiet")
    log.warning("loud")
    shown = capsys.readouterr().err
    assert "loud" in shown
    assert "quiet" not in shown


def test_a_file_is_appended_to(tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_text("before\n")
    with log_to_file(path, "info", "json"):
        structlog.get_logger().info("serving")
    before, after = path.read_text().splitlines()
    assert (before, json.loads(after)["event"]) == ("before", "serving")
    with pytest.raises(ConfigError, match=f"{tmp_path}: Is a directory"):
        log_to_file(tmp_path, "info", "json")
