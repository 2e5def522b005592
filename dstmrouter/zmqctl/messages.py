"""The messages of feed and control: one msgpack map each, version 1 (docs/zmq-protocol.md).

Every message is a frozen dataclass; the type of each field carries its check, so encoding and
decoding follow from one definition. `decode` takes any bytes and either returns a
message whose values are all in range or raises DecodeError. Keys that version 1 does not know are
ignored, a newer peer may add some; what it added has a default and is left out where it has that.
"""

from __future__ import annotations

import dataclasses
from ipaddress import IPv4Address, IPv6Address
from typing import Annotated, Any, ClassVar, Final, TypeAlias, get_type_hints

import msgpack
import numpy as np

from dstmrouter.binding import BindingColumns
from dstmrouter.errors import DecodeError
from dstmrouter.zmqctl.columns import pack_columns
from dstmrouter.zmqctl.fields import (
    EPOCH_OCTETS,
    Bindings,
    Check,
    Count,
    Counts,
    EndedUsage,
    Epoch,
    Flag,
    Id,
    Line,
    Map,
    Name,
    Part,
    Parts,
    StoreId,
    Usage,
    Word,
    number,
    octets,
)
from dstmrouter.zmqctl.usage_columns import UsageColumns, pack_usage

VERSION: Final = 1
MESSAGE_MAX: Final = (
    2_359_296  # octets: 65,536 rows of 30 octets, 255 tep6, names; sockets enforce it
)
ITEMS_MAX: Final = 4_096  # entries of one list or map, at any depth
CALLS_MAX: Final = 64  # that one side works on at the same time; more are told to try again


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """Asks the other side to do `method`; answered by a Reply or a Failure of the same id."""

    TYPE: ClassVar = "call"
    id: Id
    method: Word
    params: Map


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """The result of a Call."""

    TYPE: ClassVar = "reply"
    id: Id
    result: Map


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """A Call, a Push or an undecodable message (id 0) failed: a word, and a line of text."""

    TYPE: ClassVar = "error"
    id: Id
    reason: Word
    text: Line


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Heartbeat:
    """Feed: the server lives; every generation up to this one has been sent."""

    TYPE: ClassVar = "heartbeat"
    epoch: Epoch
    generation: Count
    interval_ms: Annotated[int, number(10, 3_600_000)]


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Delta:
    """Feed: the changes that make `generation` out of `generation - 1`.

    `store` and `version`, of servers that share a store: the version at which the changes are true.
    """

    TYPE: ClassVar = "delta"
    epoch: Epoch
    generation: Annotated[int, number(1, 2**63 - 1)]
    bindings: Bindings
    store: StoreId = b""
    version: Count = 0


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class SnapshotRequest:
    """Router asks for one part; part 0: of any snapshot at least as new as `generation`."""

    TYPE: ClassVar = "snapshot-request"
    router: Name
    epoch: Epoch
    generation: Count
    part: Part


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class SnapshotPart:
    """Part `part` of `parts` of all bindings at `generation`; lifetimes count from `age_s` ago."""

    TYPE: ClassVar = "snapshot"
    epoch: Epoch
    generation: Count
    part: Part
    parts: Parts
    age_s: Annotated[int, number(0, 2**31)]
    bindings: Bindings
    store: StoreId = b""
    version: Count = 0


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Alive:
    """Router lives and forwards by `generation` of `epoch` (empty: by nothing of this server)."""

    TYPE: ClassVar = "alive"
    router: Name
    epoch: Annotated[bytes, octets(0, EPOCH_OCTETS)]
    generation: Count
    rows: Count
    refused: Count


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Ack:
    """Router forwards by `generation`, no worker by anything older; counts since the last Ack."""

    TYPE: ClassVar = "ack"
    router: Name
    epoch: Epoch
    generation: Count
    applied: Count
    refused: Count
    rows: Count


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Push:
    """A server program writes bindings of `source`; `replace`: these parts and no others."""

    TYPE: ClassVar = "push"
    id: Id
    source: Name
    replace: Flag
    part: Part
    parts: Parts
    bindings: Bindings


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Pushed:
    """The router's answer to one Push, after its workers use the result."""

    TYPE: ClassVar = "pushed"
    id: Id
    applied: Count
    refused: Count
    rows: Count
    reasons: Counts


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class UsageChanged:
    """Usage feed: all that these bindings have used up to `at_ms`, as it has become more."""

    TYPE: ClassVar = "usage"
    epoch: Epoch
    generation: Annotated[int, number(1, 2**63 - 1)]
    at_ms: Count
    bindings: Usage


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class UsageEnded:
    """Usage feed: what bindings had used when they ended, numbered from `after` + 1 on."""

    TYPE: ClassVar = "usage-ended"
    epoch: Epoch
    generation: Annotated[int, number(1, 2**63 - 1)]
    after: Count
    bindings: EndedUsage


Message: TypeAlias = (
    Call | Reply | Failure | Heartbeat | Delta | SnapshotRequest | SnapshotPart | Alive | Ack
    | Push | Pushed | UsageChanged | UsageEnded
)  # fmt: skip

_CLASSES: Final[dict[str, type[Message]]] = {
    kind.TYPE: kind
    for kind in (Call, Reply, Failure, Heartbeat, Delta, SnapshotRequest, SnapshotPart, Alive, Ack,
                 Push, Pushed, UsageChanged, UsageEnded)
}  # fmt: skip

_OPTIONAL: Final = {
    kind: frozenset(
        field.name for field in dataclasses.fields(kind) if field.default is not dataclasses.MISSING
    )
    for kind in _CLASSES.values()
}

_CHECKS: Final[dict[type[Message], dict[str, Check]]] = {
    kind: {
        name: hint.__metadata__[0]
        for name, hint in get_type_hints(kind, include_extras=True).items()
        if name != "TYPE"
    }
    for kind in _CLASSES.values()
}


def encode(message: Message) -> bytes:
    """Return the octets of `message`; TypeError or OverflowError for params msgpack cannot hold."""
    body: dict[str, Any] = {"v": VERSION, "type": message.TYPE}
    for field in dataclasses.fields(message):
        value = getattr(message, field.name)
        if field.name in _OPTIONAL[type(message)] and value == field.default:
            continue
        body[field.name] = _packed(value)
    packed = msgpack.packb(body, default=_plain)
    assert isinstance(packed, bytes)
    return packed


def decode(octets: bytes) -> Message:
    """Return the message; DecodeError with one line that names the field."""
    body = _unpack(octets)
    if body.get("v") != VERSION:
        raise DecodeError(f"version {body.get('v')!r:.20}, expected {VERSION}")
    kind = _CLASSES.get(str(body.get("type")))
    if kind is None:
        raise DecodeError(f"unknown message type {body.get('type')!r:.40}")
    values: dict[str, Any] = {}
    for name, check in _CHECKS[kind].items():
        if name not in body:
            if name in _OPTIONAL[kind]:
                continue
            raise DecodeError(f"{kind.TYPE}: {name} is missing")
        try:
            values[name] = check(body[name])
        except DecodeError as error:
            raise DecodeError(f"{kind.TYPE}: {name}: {error}") from None
    return kind(**values)


def _unpack(octets: bytes) -> dict[Any, Any]:
    if len(octets) > MESSAGE_MAX:
        raise DecodeError(f"message of {len(octets)} octets, the limit is {MESSAGE_MAX}")
    try:
        body = msgpack.unpackb(
            octets, max_array_len=ITEMS_MAX, max_map_len=ITEMS_MAX, max_ext_len=0
        )
    except (msgpack.UnpackException, ValueError, OverflowError) as error:
        # ValueError covers bad UTF-8, exceeded limits, extra bytes and keys that are no text
        raise DecodeError(f"no msgpack map: {type(error).__name__}") from None
    if not isinstance(body, dict):
        raise DecodeError("no msgpack map at the top level")
    return body


def _packed(value: object) -> object:
    if isinstance(value, BindingColumns):
        return pack_columns(value)
    return pack_usage(value) if isinstance(value, UsageColumns) else value


def _plain(value: object) -> Any:
    """What msgpack cannot hold but handlers like to return: addresses and numpy scalars."""
    if isinstance(value, IPv4Address | IPv6Address):
        return str(value)
    if isinstance(value, np.generic):
        return value.item()
    raise TypeError(f"{type(value).__name__} has no place in a message")
