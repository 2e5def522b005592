"""What all configuration files are made of: sections, frozen and completely checked when made.

`conf/router.toml` and `conf/server.toml` explain every key to operators; `config.router` and
`config.server` hold types, limits and defaults. A check of one value belongs to its type
(`config.fields`), a check between values to `misfits` of the smallest section that holds them.
"""

from __future__ import annotations

from itertools import combinations
from typing import TYPE_CHECKING, Annotated, Literal, Self, TypeAlias

from pydantic import BaseModel, ConfigDict, model_validator

from dstmrouter.config.checks import Key, Misfit, Several, counted, misfit
from dstmrouter.config.fields import (
    AbsolutePath,
    CurveKey,
    Global6,
    Name,
    Range4,
    is_remote,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

LogLevel: TypeAlias = Literal["debug", "info", "warning", "error"]
LogFormat: TypeAlias = Literal["console", "json"]
Tep6List: TypeAlias = Annotated[Several[Global6], counted(1, 255, "IPv6 addresses")]


class Section(BaseModel):
    """A table of the file."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    def misfits(self) -> Iterator[Misfit]:
        """Find values that do not go together; asked only when each is right by itself."""
        yield from ()

    @model_validator(mode="after")
    def _check_together(self) -> Self:
        if found := list(self.misfits()):
            raise misfit(*found)
        return self


class CurvePeer(Section):
    """`[[curve.allowed]]`: a key that may connect to our sockets."""

    name: Name
    public_key: CurveKey


class CurveConfig(Section):
    """`[curve]`: our ZeroMQ key pair and whom we let in (ZeroMQ RFC 26 and RFC 27)."""

    secret_key_file: AbsolutePath
    allowed: Annotated[Several[CurvePeer], counted(0, 4096, "keys")] = ()

    def misfits(self) -> Iterator[Misfit]:
        """Refuse two entries for one name or key."""
        yield from repeated([peer.name for peer in self.allowed], ("allowed",), "name")
        yield from repeated([peer.public_key for peer in self.allowed], ("allowed",), "public_key")


def repeated(values: Sequence[object], at: tuple[Key, ...], key: str = "") -> Iterator[Misfit]:
    """Misfits of those `values` (of `key`, one per element of the array `at`) seen before."""
    first: dict[object, int] = {}
    for i, value in enumerate(values):
        if first.setdefault(value, i) != i:
            path = (*at, i, key) if key else (*at, i)
            yield path, f"another value than #{first[value] + 1} has"


def overlaps(pools: Sequence[Range4], keys: Sequence[str]) -> Iterator[Misfit]:
    """Misfits of those `[[pool]]`s that share addresses with an earlier one.

    `keys` names the key of each pool that the message points at.
    """
    for (i, one), (j, other) in combinations(enumerate(pools), 2):
        if one.overlaps(other):
            yield ("pool", j, keys[j]), f"no overlap with [[pool]] #{i + 1}, which is {one}"


def curve_misfits(curve: CurveConfig | None, endpoints: Iterable[str]) -> Iterator[Misfit]:
    """A misfit if one of `endpoints` is on the network, but there are no keys."""
    remote = next((endpoint for endpoint in endpoints if is_remote(endpoint)), None)
    if curve is None and remote is not None:
        yield ("curve",), f"a [curve] section with secret_key_file, because of {remote}"
