"""Who calls, as ONC RPC puts it: RFC 5531 sections 8.2 and 9, and appendix A.

Nothing here proves anything. What a DSTM server believes of a caller is its IPv6 address.
"""

from __future__ import annotations

import dataclasses
from enum import IntEnum
from typing import Final

from dstmrouter.protocols.xdr import Reader, Writer

AUTH_MAX: Final = 400  # octets of a credential or verifier, section 8.2
MACHINE_MAX: Final = 255  # octets of AUTH_SYS' host name, appendix A
GIDS_MAX: Final = 16

AUTH_NONE: Final = 0  # flavors are open-ended numbers, section 8.2
AUTH_SYS: Final = 1


class AuthStat(IntEnum):
    """Why authentication failed, section 9; 8 to 14 are those of Kerberos and RPCSEC_GSS."""

    OK = 0
    BADCRED = 1
    REJECTEDCRED = 2
    BADVERF = 3
    REJECTEDVERF = 4
    TOOWEAK = 5
    INVALIDRESP = 6
    FAILED = 7
    KERB_GENERIC = 8
    TIMEEXPIRE = 9
    TKT_FILE = 10
    DECODE = 11
    NET_ADDR = 12
    RPCSEC_GSS_CREDPROBLEM = 13
    RPCSEC_GSS_CTXPROBLEM = 14


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class OpaqueAuth:
    """A credential or verifier, section 8.2."""

    flavor: int
    body: bytes = b""


NO_AUTH: Final = OpaqueAuth(flavor=AUTH_NONE)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class AuthSys:
    """The body of an AUTH_SYS credential, appendix A."""

    stamp: int
    machine: bytes
    uid: int
    gid: int
    gids: tuple[int, ...] = ()

    def encode(self) -> OpaqueAuth:
        """As a credential."""
        writer = Writer()
        writer.uint32(self.stamp)
        writer.opaque(self.machine, MACHINE_MAX)
        writer.uint32(self.uid)
        writer.uint32(self.gid)
        writer.array(self.gids, GIDS_MAX, writer.uint32)
        return OpaqueAuth(flavor=AUTH_SYS, body=writer.octets)

    @classmethod
    def decode(cls, body: bytes) -> AuthSys:
        """From the body of a credential; DecodeError if it is none."""
        reader = Reader(body)
        found = cls(
            stamp=reader.uint32(),
            machine=reader.opaque(MACHINE_MAX),
            uid=reader.uint32(),
            gid=reader.uint32(),
            gids=reader.array(GIDS_MAX, reader.uint32),
        )
        reader.end()
        return found


def read_auth(reader: Reader) -> OpaqueAuth:
    """A credential or verifier of any flavor."""
    return OpaqueAuth(flavor=reader.uint32(), body=reader.opaque(AUTH_MAX))


def write_auth(writer: Writer, auth: OpaqueAuth) -> None:
    """A credential or verifier of any flavor."""
    writer.uint32(auth.flavor)
    writer.opaque(auth.body, AUTH_MAX)
