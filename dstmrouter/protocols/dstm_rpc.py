"""The RPC program by which clients lease addresses: the types of `docs/dstm.x`, in its order.

`docs/rpc.md` says what the procedures mean. Each type here has the name, the fields and the limits
of its namesake in the interface file, which a test holds against it.
"""

from __future__ import annotations

import dataclasses
from enum import IntEnum
from ipaddress import IPv4Address, IPv6Address
from typing import Final, TypeAlias

from dstmrouter.errors import DecodeError
from dstmrouter.protocols.granted import GrantedLease, PortSet
from dstmrouter.protocols.xdr import Reader, Writer

PROGRAM: Final = 0x2000D573  # of the site-local range, RFC 5531 section 13
VERSION: Final = 1

ID_MAX: Final = 128  # octets
TEXT_MAX: Final = 255
NONCE_MAX: Final = 32
WHOLE_ADDRESS: Final = PortSet(psid_offset=0, psid_len=0, psid=0)
NO_HINT: Final = IPv4Address(0)


class Procedure(IntEnum):
    """Procedures of version 1."""

    NULL = 0
    ALLOCATE = 1
    RENEW = 2
    RELEASE = 3
    QUERY = 4


class Stat(IntEnum):
    """What became of a call."""

    OK = 0
    EPERM = 1
    ENOADDR = 2
    EBUSY = 3
    EINPROGRESS = 4
    EBADADDR6 = 5
    EINUSE = 6
    ENOLEASE = 7
    EQUOTA = 8
    ETEP = 9
    ESTALE = 10
    EUNSUPP = 11
    ECOOKIE = 12
    EINTERNAL = 13


class LeaseState(IntEnum):
    """Where in its life a lease is."""

    OFFERED = 1
    ACTIVE = 2
    EXPIRED = 3
    QUARANTINE = 4


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Lease:
    """`dstm_lease`; times in seconds from now, `mtu` in octets."""

    lease_id: int
    client6: IPv6Address
    tep6: IPv6Address
    tep4: IPv4Address
    client4: IPv4Address
    prefix4_len: int = 32
    ports: PortSet = WHOLE_ADDRESS
    lifetime: int
    t1: int
    t2: int
    mtu: int
    state: LeaseState

    def write(self, writer: Writer) -> None:
        """Put the lease."""
        writer.uint64(self.lease_id)
        for address in (self.client6, self.tep6, self.tep4, self.client4):
            writer.fixed(address.packed, len(address.packed))
        ports = (self.ports.psid_offset, self.ports.psid_len, self.ports.psid)
        for number in (self.prefix4_len, *ports, self.lifetime, self.t1, self.t2, self.mtu):
            writer.uint32(number)
        writer.enum(self.state)

    @classmethod
    def read(cls, reader: Reader) -> Lease:
        """Take a lease."""
        return cls(
            lease_id=reader.uint64(),
            client6=IPv6Address(reader.fixed(16)),
            tep6=IPv6Address(reader.fixed(16)),
            tep4=IPv4Address(reader.fixed(4)),
            client4=IPv4Address(reader.fixed(4)),
            prefix4_len=reader.uint32(),
            ports=PortSet(
                psid_offset=reader.uint32(), psid_len=reader.uint32(), psid=reader.uint32()
            ),
            lifetime=reader.uint32(),
            t1=reader.uint32(),
            t2=reader.uint32(),
            mtu=reader.uint32(),
            state=reader.enum(LeaseState),
        )

    def granted(self) -> GrantedLease:
        """As the client uses it."""
        return GrantedLease(
            client4=self.client4,
            client6=self.client6,
            tep4=self.tep4,
            tep6=self.tep6,
            lifetime_s=self.lifetime,
            lease_id=self.lease_id,
            port_set=self.ports if self.ports.psid_len else None,
            mtu=self.mtu or None,
        )


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class AllocateArgs:
    """`dstm_alloc_args`; zeros mean: no wish."""

    client6: IPv6Address
    client_id: bytes = b""
    hint4: IPv4Address = NO_HINT
    want_lifetime: int = 0  # seconds
    want_psid_len: int = 0  # bits
    cookie: bytes = b""

    def encode(self) -> bytes:
        """As arguments of a call."""
        writer = Writer()
        writer.fixed(self.client6.packed, 16)
        writer.opaque(self.client_id, ID_MAX)
        writer.fixed(self.hint4.packed, 4)
        writer.uint32(self.want_lifetime)
        writer.uint32(self.want_psid_len)
        writer.opaque(self.cookie, NONCE_MAX)
        return writer.octets

    @classmethod
    def decode(cls, octets: bytes) -> AllocateArgs:
        """From the arguments of a call; DecodeError if they are others."""
        reader = Reader(octets)
        found = cls(
            client6=IPv6Address(reader.fixed(16)),
            client_id=reader.opaque(ID_MAX),
            hint4=IPv4Address(reader.fixed(4)),
            want_lifetime=reader.uint32(),
            want_psid_len=reader.uint32(),
            cookie=reader.opaque(NONCE_MAX),
        )
        reader.end()
        return found


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class ReferenceArgs:
    """`dstm_ref_args`: a lease that the client has."""

    lease_id: int
    client6: IPv6Address
    client_id: bytes = b""
    want_lifetime: int = 0  # seconds; 0: no wish

    def encode(self) -> bytes:
        """As arguments of a call."""
        writer = Writer()
        writer.uint64(self.lease_id)
        writer.fixed(self.client6.packed, 16)
        writer.opaque(self.client_id, ID_MAX)
        writer.uint32(self.want_lifetime)
        return writer.octets

    @classmethod
    def decode(cls, octets: bytes) -> ReferenceArgs:
        """From the arguments of a call; DecodeError if they are others."""
        reader = Reader(octets)
        found = cls(
            lease_id=reader.uint64(),
            client6=IPv6Address(reader.fixed(16)),
            client_id=reader.opaque(ID_MAX),
            want_lifetime=reader.uint32(),
        )
        reader.end()
        return found


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class CookieNeeded:
    """Call again, with this cookie (DSTM_ECOOKIE)."""

    cookie: bytes


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class RetryLater:
    """Call again in `retry_after` seconds (DSTM_EBUSY, DSTM_EINPROGRESS)."""

    stat: Stat
    retry_after: int


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Refused:
    """No; `text` says why, to people."""

    stat: Stat
    text: str


LeaseResult: TypeAlias = Lease | CookieNeeded | RetryLater | Refused
"""`dstm_lease_res`"""

RETRY_STATS: Final = frozenset({Stat.EBUSY, Stat.EINPROGRESS})
TEXT_STATS: Final = frozenset(Stat) - RETRY_STATS - {Stat.OK, Stat.ECOOKIE}


def stat_of(result: LeaseResult) -> Stat:
    """The discriminant of the union."""
    if isinstance(result, Lease):
        return Stat.OK
    return Stat.ECOOKIE if isinstance(result, CookieNeeded) else result.stat


def encode_result(result: LeaseResult) -> bytes:
    """As results of ALLOCATE, RENEW and QUERY; a text that is too long is cut."""
    writer = Writer()
    writer.enum(stat_of(result))
    if isinstance(result, Lease):
        result.write(writer)
    elif isinstance(result, CookieNeeded):
        writer.opaque(result.cookie, NONCE_MAX)
    elif isinstance(result, RetryLater):
        assert result.stat in RETRY_STATS
        writer.uint32(result.retry_after)
    else:
        assert result.stat in TEXT_STATS
        writer.text(result.text.encode()[:TEXT_MAX].decode(errors="ignore"), TEXT_MAX)
    return writer.octets


def decode_result(octets: bytes) -> LeaseResult:
    """From the results of ALLOCATE, RENEW and QUERY; DecodeError if they are others."""
    reader = Reader(octets)
    stat = reader.enum(Stat)
    result: LeaseResult
    if stat is Stat.OK:
        result = Lease.read(reader)
    elif stat is Stat.ECOOKIE:
        result = CookieNeeded(cookie=reader.opaque(NONCE_MAX))
    elif stat in RETRY_STATS:
        result = RetryLater(stat=stat, retry_after=reader.uint32())
    else:
        result = Refused(stat=stat, text=reader.text(TEXT_MAX))
    reader.end()
    return result


def encode_stat(stat: Stat) -> bytes:
    """As result of RELEASE."""
    return stat.to_bytes(4, "big")


def decode_stat(octets: bytes) -> Stat:
    """From the result of RELEASE; DecodeError if it is another."""
    reader = Reader(octets)
    stat = reader.enum(Stat)
    reader.end()
    return stat


def decode_nothing(octets: bytes) -> None:
    """Raise DecodeError unless `octets` are void."""
    if octets:
        raise DecodeError(f"{len(octets)} octets too many")
