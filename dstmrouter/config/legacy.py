"""The files of ENST's DSTM package as they are: `rpcdstmd.conf`, `rpcdstmd.args`, `dstmd.args`.

What is not known is refused, with file and line: a statement that is passed over could be the one
that matters. The notation is that of `config.legacy_grammar`.
"""

from __future__ import annotations

import dataclasses
import re
from ipaddress import IPv4Address, IPv4Network, IPv6Address
from typing import TYPE_CHECKING, Annotated, Any, Final, TypeAlias

from pydantic import TypeAdapter, ValidationError

from dstmrouter.config.checks import text as text_like
from dstmrouter.config.fields import AbsolutePath, Global6, Range4, Unicast4
from dstmrouter.config.hosts import Host, Port
from dstmrouter.config.legacy_grammar import RefusedError, Statement, lines, pair, statements
from dstmrouter.config.server import LeaseSeconds
from dstmrouter.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from pathlib import Path


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class LegacyServer:
    """`rpcdstmd.conf` and `rpcdstmd.args`: server and tunnel end point, in one process then."""

    tep6: IPv6Address
    tep4: IPv4Address
    ranges: tuple[Range4, ...]
    lease_s: int | None = None
    tsp_port: int | None = None  # None: no TSP


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class LegacyClient:
    """`dstmd.args`."""

    server: str  # name or IPv6 address
    port: int | None = None
    log: Path | None = None


Value: TypeAlias = Any
"""What a statement or a pair says, checked."""

# The others need secrets, for which these files have no place.
Authmode: TypeAlias = Annotated[str, text_like("anonymous", "anonymous; others need a TOML file")]

UNICAST4: Final = TypeAdapter[Value](Unicast4)
PORT: Final = TypeAdapter[Value](Port)
AUTHMODE: Final = TypeAdapter[Value](Authmode)
SIMPLE: Final = {  # statements of one value
    "default-lease-time": TypeAdapter[Value](LeaseSeconds),
    "tep6": TypeAdapter[Value](Global6),
    "tep4": UNICAST4,
}
SERVER_ARGS: Final = {"tsp": PORT, "authmode": AUTHMODE}
CLIENT_ARGS: Final = {
    "tspserver": TypeAdapter[Value](Host),
    "port": PORT,
    "authmode": AUTHMODE,
    "log": TypeAdapter[Value](AbsolutePath),
}


def read_server(conf: Path, args: Path | None) -> LegacyServer:
    """Read the server's files; ConfigError has one line for everything that is wrong."""
    problems: list[str] = []
    found = _collect(conf, _server_statements, problems)
    pairs = {} if args is None else _collect(args, _pairs_of(SERVER_ARGS), problems)
    if problems:
        raise ConfigError("\n".join(problems))
    missing = [key for key in ("tep6", "tep4", "range") if not found.get(key)]
    if missing:
        raise ConfigError(f"{conf}: {' and '.join(missing)}: missing")
    return LegacyServer(
        tep6=found["tep6"],
        tep4=found["tep4"],
        ranges=tuple(found["range"]),
        lease_s=found.get("default-lease-time"),
        tsp_port=pairs.get("tsp"),
    )


def read_client(args: Path) -> LegacyClient:
    """Read the client's file; ConfigError has one line for everything that is wrong."""
    problems: list[str] = []
    pairs = _collect(args, _pairs_of(CLIENT_ARGS), problems)
    if not problems and "tspserver" not in pairs:
        problems.append(f"{args}: tspserver: missing")
    if problems:
        raise ConfigError("\n".join(problems))
    return LegacyClient(server=pairs["tspserver"], port=pairs.get("port"), log=pairs.get("log"))


def _collect(
    path: Path,
    parse: Callable[[str, list[RefusedError]], dict[str, Value]],
    problems: list[str],
) -> dict[str, Value]:
    refused: list[RefusedError] = []
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}") from None
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path}: octet {error.start}: expected UTF-8") from None
    found = parse(text, refused)
    problems += [f"{path}: {error}" for error in refused]
    return found


# rpcdstmd.conf ------------------------------------------------------------------------------------


def _server_statements(text: str, refused: list[RefusedError]) -> dict[str, Value]:
    found: dict[str, Value] = {"range": []}
    try:
        parsed = statements(text)
    except RefusedError as error:
        refused.append(error)
        return found
    seen: dict[str, int] = {}
    for one in parsed:
        try:
            keyword = one.words[0]
            if keyword == "subnet":
                _subnet(one, found["range"], refused)
                continue
            _known(one.line, keyword, (*SIMPLE, "subnet"))
            _demand_once(one.line, keyword, seen)
            found[keyword] = _checked(one.line, keyword, SIMPLE[keyword], _one_value(one))
        except RefusedError as error:
            refused.append(error)
    return found


def _subnet(one: Statement, ranges: list[Range4], refused: list[RefusedError]) -> None:
    """Check a subnet and add its ranges; one without ranges lends nothing, as in dhcpd."""
    match one.words:
        case (_, address, "netmask", mask) if one.block is not None:
            network = _network(one.line, address, mask)
        case _:
            raise RefusedError(
                one.line, "subnet: expected subnet ADDRESS netmask MASK { range ...; }"
            )
    for part in one.block:
        try:
            _known(part.line, part.words[0], ("range",))
            span = _range(part, network)
            _demand_apart(part.line, span, ranges)
            ranges.append(span)
        except RefusedError as error:
            refused.append(error)


def _network(line: int, address: str, mask: str) -> IPv4Network:
    try:
        network = IPv4Network((address, mask))
    except ValueError:
        network = None
    if network is None or str(network.netmask) != mask:  # a host mask would be taken, too
        expected = "a network address without host bits, and its mask"
        raise RefusedError(line, f"subnet {address} netmask {mask}: expected {expected}")
    return network


def _range(part: Statement, network: IPv4Network) -> Range4:
    if not 2 <= len(part.words) <= 3:
        raise RefusedError(part.line, "range: expected range FIRST LAST; or range ADDRESS;")
    first, last = (_checked(part.line, "range", UNICAST4, part.words[i]) for i in (1, -1))
    if last < first:
        raise RefusedError(part.line, f"range {first} {last}: expected the lower address first")
    span = Range4(first, last)
    if not Range4.of_network(network).contains(span):
        raise RefusedError(
            part.line, f"range {first} {last}: expected addresses of subnet {network}"
        )
    return span


def _demand_apart(line: int, span: Range4, ranges: list[Range4]) -> None:
    for other in ranges:
        if other.overlaps(span):
            raise RefusedError(line, f"range {span}: overlaps with range {other}")


def _one_value(one: Statement) -> str:
    if len(one.words) != 2 or one.block is not None:
        raise RefusedError(one.line, f"{one.words[0]}: expected one value and ; behind it")
    return one.words[1]


# *.args -------------------------------------------------------------------------------------------


def _pairs_of(
    known: Mapping[str, TypeAdapter[Value]],
) -> Callable[[str, list[RefusedError]], dict[str, Value]]:
    def parse(text: str, refused: list[RefusedError]) -> dict[str, Value]:
        found: dict[str, Value] = {}
        seen: dict[str, int] = {}
        for number, line in lines(text):
            try:
                key, value = pair(number, line)
                _known(number, key, known)
                _demand_once(number, key, seen)
                found[key] = _checked(number, key, known[key], value)
            except RefusedError as error:
                refused.append(error)
        return found

    return parse


# Values -------------------------------------------------------------------------------------------


def _known(line: int, keyword: str, known: Iterable[str]) -> None:
    if keyword not in known:
        raise RefusedError(line, f"{keyword}: unknown keyword, expected {' or '.join(known)}")


def _demand_once(line: int, keyword: str, seen: dict[str, int]) -> None:
    if seen.setdefault(keyword, line) != line:
        raise RefusedError(line, f"{keyword}: given twice, before in line {seen[keyword]}")


def _checked(line: int, keyword: str, kind: TypeAdapter[Value], text: str) -> Value:
    value = int(text) if re.fullmatch(r"[0-9]{1,10}", text) else text
    try:
        return kind.validate_python(value)
    except ValidationError as error:
        ((_, expected),) = error.errors()[0]["ctx"]["misfits"]
        raise RefusedError(line, f"{keyword} {text}: expected {expected}") from None
