"""TOML file -> checked configuration, or a `ConfigError` with one line per problem.

A line holds file, place, value and what was expected:
`conf/router.toml: [umem] rx_slots = 1000: expected a power of two between 64 and 65536`.
"""

from __future__ import annotations

import difflib
import json
import re
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeAlias, TypeVar, get_args

from pydantic import ValidationError

from dstmrouter.config.checks import MISFIT, Key
from dstmrouter.config.model import Section
from dstmrouter.errors import ConfigError

if TYPE_CHECKING:  # a program loads the models of its own file
    from dstmrouter.config.client import ClientConfig
    from dstmrouter.config.router import RouterConfig
    from dstmrouter.config.server import ServerConfig

AnySection = TypeVar("AnySection", bound=Section)
Place: TypeAlias = tuple[Key, ...]

MISSING: Final = object()
VALUE_WIDTH: Final = 60  # characters; longer values are cut, a line stays a line
EXPECTED: Final = {  # pydantic's error types that our models can produce
    "bool_type": "true or false",
    "string_type": "a string",
    "tuple_type": "an array",
    "model_type": "a table",
    "missing": "a value",
}


def load_router(path: str | Path) -> RouterConfig:
    """Read and check a `router.toml`; ConfigError lists everything that is wrong."""
    from dstmrouter.config.router import RouterConfig

    return _load(Path(path), RouterConfig)


def load_server(path: str | Path) -> ServerConfig:
    """Read and check a `server.toml`; ConfigError lists everything that is wrong."""
    from dstmrouter.config.server import ServerConfig

    return _load(Path(path), ServerConfig)


def load_client(path: str | Path) -> ClientConfig:
    """Read and check a `client.toml`; ConfigError lists everything that is wrong."""
    from dstmrouter.config.client import ClientConfig

    return _load(Path(path), ClientConfig)


def check_server(path: Path, document: dict[str, Any]) -> ServerConfig:
    """Check the `document` of a `server.toml` that was made from the file `path`."""
    from dstmrouter.config.server import ServerConfig

    return _checked(path, document, ServerConfig)


def check_client(path: Path, document: dict[str, Any]) -> ClientConfig:
    """Check the `document` of a `client.toml` that was made from the file `path`."""
    from dstmrouter.config.client import ClientConfig

    return _checked(path, document, ClientConfig)


def _load(path: Path, model: type[AnySection]) -> AnySection:
    try:
        document = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}") from None
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path}: octet {error.start}: expected UTF-8") from None
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{path}: {error}") from None
    return _checked(path, document, model)


def _checked(path: Path, document: dict[str, Any], model: type[AnySection]) -> AnySection:
    try:
        return model.model_validate(document)
    except ValidationError as error:
        found = [line for one in error.errors() for line in _lines(one, document, model)]
        raise ConfigError("\n".join(f"{path}: {line}" for line in found)) from None


def _lines(error: Any, document: dict[str, Any], model: type[Section]) -> list[str]:
    place: Place = error["loc"]
    if error["type"] == MISFIT:
        found = [((*place, *below), expected) for below, expected in error["ctx"]["misfits"]]
    elif error["type"] == "extra_forbidden":
        return [f"{_found(place, document)}: unknown key, expected {_known_keys(place, model)}"]
    elif error["type"] == "literal_error":
        found = [(place, error["ctx"]["expected"].replace("'", '"'))]
    else:
        found = [(place, EXPECTED.get(error["type"], error["msg"]))]
    return [f"{_found(where, document)}: expected {expected}" for where, expected in found]


def _found(place: Place, document: dict[str, Any]) -> str:
    """The place and what stands there."""
    value = _value_at(place, document)
    if value is MISSING:
        shown = " is missing"
    elif isinstance(value, dict):
        shown = ""
    else:
        shown = f" = {_as_toml(value)}"
    return f"{_describe(place, document)}{shown}"


def _describe(place: Place, document: dict[str, Any]) -> str:
    """The place in TOML's own notation: `[umem] frames`, `[[port]] #2 vlan`, `[tunnel] tep6 #1`."""
    table, key = "", ""
    dotted: list[str] = []
    for depth, part in enumerate(place, 1):
        is_table = isinstance(_value_at(place[:depth], document), dict)
        if isinstance(part, str):
            dotted.append(_as_key(part))
            table, key = (f"[{'.'.join(dotted)}]", "") if is_table else (table, dotted[-1])
        elif is_table:
            table, key = f"[[{'.'.join(dotted)}]] #{part + 1}", ""
        else:
            key = f"{key} #{part + 1}"
    return f"{table} {key}".strip()


def _value_at(place: Place, document: dict[str, Any]) -> Any:  # whatever TOML holds
    value: Any = document
    for part in place:
        try:
            value = value[part]
        except (KeyError, IndexError, TypeError):
            return MISSING
    return value


def _as_toml(value: object) -> str:
    shown = json.dumps(value, default=str)  # TOML's own form for all but dates and tables
    return shown if len(shown) <= VALUE_WIDTH else f"{shown[: VALUE_WIDTH - 3]}..."


def _as_key(key: str) -> str:
    return key if re.fullmatch(r"[A-Za-z0-9_-]+", key) else _as_toml(key)


def _known_keys(place: Place, model: type[Section]) -> str:
    """What may stand where an unknown key stands: the nearest keys, or all."""
    names = list(_section_at(place[:-1], model).model_fields)
    near = difflib.get_close_matches(str(place[-1]), names, n=2, cutoff=0.6)
    return " or ".join(near) if near else f"one of {', '.join(names)}"


def _section_at(place: Place, model: type[Section]) -> type[Section]:
    for part in place:
        if isinstance(part, str):
            model = _section_in(model.model_fields[part].annotation)
    return model


def _section_in(annotation: Any) -> type[Section]:  # typing has no type for types
    """The one section class inside `X`, `X | None` or `tuple[X, ...]`."""
    if isinstance(annotation, type) and issubclass(annotation, Section):
        return annotation
    inner = (_section_in(part) for part in get_args(annotation) if part is not type(None))
    return next(inner)
