"""`LeasePusher`: how any server program writes bindings into a router, and knows they are in use.

    with LeasePusher("ipc:///run/dstm-router/control", source="radius") as pusher:
        pusher.put([Binding("192.0.2.7", "2001:db8::7", "2001:db8:f::1", lifetime_s=3600)])

The messages are public (docs/zmq-protocol.md); this class is one way to send them.
"""

from __future__ import annotations

import dataclasses
from ipaddress import AddressValueError, IPv4Address, IPv6Address
from typing import TYPE_CHECKING, Final, Self, TypedDict

import numpy as np
import numpy.typing as npt

from dstmrouter.binding import LIFETIME_FOREVER, OP_PUT, OP_REMOVE, BindingColumns, words6
from dstmrouter.errors import ControlError, DstmError
from dstmrouter.zmqctl.client import ControlClient
from dstmrouter.zmqctl.columns import ROWS_MAX, TEP6_MAX, split_rows
from dstmrouter.zmqctl.messages import Push, Pushed

if TYPE_CHECKING:
    from collections.abc import Iterable

    from dstmrouter.zmqctl.keys import CurveClient

PORT_BITS: Final = 16
LIFETIME_MAX: Final = LIFETIME_FOREVER - 1


@dataclasses.dataclass(frozen=True, slots=True)
class Binding:
    """One binding for people: addresses as text or objects, seconds to live or None (forever).

    With a `psid_len` it is of a port set (RFC 7597 section 5.1), not of the whole address.
    """

    ipv4: str | IPv4Address
    client6: str | IPv6Address
    tep6: str | IPv6Address
    lifetime_s: int | None = None
    psid_offset: int = 0
    psid_len: int = 0
    psid: int = 0


class _PortSetColumns(TypedDict):
    psid_offset: npt.NDArray[np.uint8]
    psid_len: npt.NDArray[np.uint8]
    psid: npt.NDArray[np.uint16]


@dataclasses.dataclass(slots=True)
class PushResult:
    """What the router did, in rows; `reasons` counts the refused ones by reason."""

    applied: int = 0
    refused: int = 0
    rows: int = 0  # bindings of this source in the router now
    reasons: dict[str, int] = dataclasses.field(default_factory=dict)

    def add(self, answer: Pushed) -> None:
        """Count the answer to one more part."""
        self.applied += answer.applied
        self.refused += answer.refused
        self.rows = answer.rows
        for reason, count in answer.reasons.items():
            self.reasons[reason] = self.reasons.get(reason, 0) + count


class LeasePusher:
    """Writes bindings of `source` into the router at `endpoint`; blocking, not thread-safe.

    Every method returns once all workers of the router use the result, and raises ControlError when
    the router refuses or does not answer within `timeout_s` per 65,536 bindings. What was sent
    before an error may be in use; sending the same again is harmless.
    """

    def __init__(
        self,
        endpoint: str,
        *,
        source: str,
        curve: CurveClient | None = None,
        timeout_s: float = 10.0,
    ) -> None:
        self._client = ControlClient(endpoint, curve=curve)
        self._source = source
        self._timeout_s = timeout_s

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connection; bindings stay until they end or are removed."""
        self._client.close()

    def put(self, bindings: BindingColumns | Iterable[Binding]) -> PushResult:
        """Add bindings or renew them; columns may also remove (their `op`)."""
        return self._push(_columns(bindings), replace=False)

    def remove(self, bindings: Iterable[str | IPv4Address | Binding]) -> PushResult:
        """Remove the bindings of whole addresses, or those of the same address and port set."""
        return self._push(_removals(list(bindings)), replace=False)

    def replace_all(self, bindings: BindingColumns | Iterable[Binding]) -> PushResult:
        """Make these the only bindings of our source; each takes effect without a gap."""
        return self._push(_columns(bindings), replace=True)

    def _push(self, columns: BindingColumns, *, replace: bool) -> PushResult:
        result = PushResult()
        parts = split_rows(columns, ROWS_MAX)
        for number, part in enumerate(parts):
            push = Push(
                id=self._client.next_id(),
                source=self._source,
                replace=replace,
                part=number,
                parts=len(parts),
                bindings=part,
            )
            answer = self._client.exchange(push, self._timeout_s)
            if not isinstance(answer, Pushed):
                raise ControlError(f"{self._client.endpoint}: unexpected answer {answer.TYPE}")
            result.add(answer)
        return result


def _columns(bindings: BindingColumns | Iterable[Binding]) -> BindingColumns:
    if isinstance(bindings, BindingColumns):
        return bindings
    rows = list(bindings)
    tep6 = list(dict.fromkeys(_address6(row.tep6) for row in rows))
    if len(tep6) > TEP6_MAX:
        raise DstmError(f"{len(tep6)} different tep6 addresses, the limit is {TEP6_MAX}")
    return BindingColumns(
        op=np.full(len(rows), OP_PUT, np.uint8),
        ipv4=np.array([int(_address4(row.ipv4)) for row in rows], np.uint32),
        client6=words6([_address6(row.client6) for row in rows]),
        tep=np.array([tep6.index(_address6(row.tep6)) for row in rows], np.uint8),
        **_port_sets(rows),
        lifetime_s=np.array([_lifetime(row.lifetime_s) for row in rows], np.uint32),
        tep6=tuple(tep6),
    )


def _removals(bindings: list[str | IPv4Address | Binding]) -> BindingColumns:
    rows = [row if isinstance(row, Binding) else Binding(row, "::", "::") for row in bindings]
    zeros = np.zeros(len(rows), np.uint8)
    return BindingColumns(
        op=np.full(len(rows), OP_REMOVE, np.uint8),
        ipv4=np.array([int(_address4(row.ipv4)) for row in rows], np.uint32),
        client6=np.zeros((len(rows), 2), np.uint64),
        tep=zeros,
        **_port_sets(rows),
        lifetime_s=zeros.astype(np.uint32),
    )


def _port_sets(rows: list[Binding]) -> _PortSetColumns:
    for row in rows:
        a, k = row.psid_offset, row.psid_len
        if not (min(a, k) >= 0 and a + k <= PORT_BITS and 0 <= row.psid < 1 << k):
            raise DstmError(
                f"psid {row.psid} with psid_offset {a} and psid_len {k}: expected bits that are "
                f"{PORT_BITS} together at most, and a psid below 2^psid_len"
            )
    return {
        "psid_offset": np.array([row.psid_offset for row in rows], np.uint8),
        "psid_len": np.array([row.psid_len for row in rows], np.uint8),
        "psid": np.array([row.psid for row in rows], np.uint16),
    }


def _address4(address: str | IPv4Address) -> IPv4Address:
    try:
        return IPv4Address(address)
    except AddressValueError as error:
        raise DstmError(f"{address!r}: expected an IPv4 address") from error


def _address6(address: str | IPv6Address) -> IPv6Address:
    try:
        return IPv6Address(address)
    except AddressValueError as error:
        raise DstmError(f"{address!r}: expected an IPv6 address") from error


def _lifetime(seconds: int | None) -> int:
    if seconds is None:
        return LIFETIME_FOREVER
    if not 0 <= seconds <= LIFETIME_MAX:
        raise DstmError(f"lifetime of {seconds} s: expected 0 to {LIFETIME_MAX}, or None")
    return seconds
