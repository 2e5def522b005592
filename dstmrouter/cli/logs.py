"""Logs of the daemons: to standard error or a file, for people or for log collectors."""

from __future__ import annotations

import json
import logging
import sys
from typing import TYPE_CHECKING, Final, Literal, TextIO

import structlog

from dstmrouter.errors import ConfigError

if TYPE_CHECKING:
    from pathlib import Path


_ENCODER: Final = json.JSONEncoder(default=repr)


def _as_json(event: object, **_: object) -> str:
    """An event as JSON; `json.dumps` would make an encoder for each."""
    return _ENCODER.encode(event)


def log_to_stderr(level: str, form: Literal["console", "json"]) -> None:
    """Log from `level` ("debug", "info", ...) on; "json" is one object per line."""
    _log_to(sys.stderr, level, form)


def log_to_file(path: Path, level: str, form: Literal["console", "json"]) -> TextIO:
    """Append to a file, which is made when missing, and return it; ConfigError if that fails."""
    try:
        file = path.open("a", encoding="utf-8", buffering=1)
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}") from None
    _log_to(file, level, form)
    return file


def _log_to(file: TextIO, level: str, form: Literal["console", "json"]) -> None:
    renderer: structlog.typing.Processor
    if form == "json":
        renderer = structlog.processors.JSONRenderer(_as_json)
    else:
        renderer = structlog.dev.ConsoleRenderer(colors=file.isatty())
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.StackInfoRenderer(),
            *([structlog.processors.dict_tracebacks] if form == "json" else []),
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(
            logging.getLevelNamesMapping()[level.upper()]
        ),
        logger_factory=structlog.WriteLoggerFactory(file),
        cache_logger_on_first_use=True,
    )
