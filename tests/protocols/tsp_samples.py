"""Users, octets and two joined TSP sessions for tests."""

from __future__ import annotations

import itertools
from ipaddress import IPv4Address, IPv6Address
from typing import TYPE_CHECKING, Final

from dstmrouter.protocols import sasl
from dstmrouter.protocols.sasl import UserKeys
from dstmrouter.protocols.sasl_client import Credential
from dstmrouter.protocols.sasl_digest import DigestServer, secret
from dstmrouter.protocols.sasl_scram import ScramServer, make_keys
from dstmrouter.protocols.tsp_session import Session, SessionTerms
from dstmrouter.protocols.tsp_xml import Action, End, Keepalive, Tunnel

if TYPE_CHECKING:
    from dstmrouter.protocols.sasl import Attempts

USER: Final = "ann"
PASSWORD: Final = "pencil"
REALM: Final = "dstm"
CLIENT6: Final = IPv6Address("2001:db8:c18:ffff::1")
TEP6: Final = IPv6Address("2001:db8:c18:ffff::2")
CLIENT4: Final = IPv4Address("192.0.2.1")
TEP4: Final = IPv4Address("192.0.2.2")
ITERATIONS: Final = 10  # of SCRAM: tests have no secrets
ALL: Final = ("SCRAM-SHA-256", "DIGEST-MD5", "PLAIN", "ANONYMOUS")

CREATE: Final = (
    b'<tunnel action="create" type="v4v6"><client><address type="ipv6">2001:db8:c18:ffff::1'
    b'</address><keepalive interval="30"><address type="ipv4">192.0.2.2</address></keepalive>'
    b"</client></tunnel>\r\n"
)
INFO: Final = (
    b'<tunnel action="info" type="v4v6" lifetime="15"><server><address type="ipv4" length="32">'
    b'192.0.2.2</address><address type="ipv6">2001:db8:c18:ffff::2</address></server><client>'
    b'<address type="ipv4" length="32">192.0.2.1</address><address type="ipv6">'
    b'2001:db8:c18:ffff::1</address><keepalive interval="30"><address type="ipv4">192.0.2.2'
    b"</address></keepalive></client></tunnel>\r\n"
)
ACCEPT: Final = b'<tunnel action="accept"></tunnel>\r\n'
REJECT: Final = b'<tunnel action="reject"></tunnel>\r\n'
DELETE: Final = (
    b'<tunnel action="delete" type="v4v6"><client><address type="ipv6">2001:db8:c18:ffff::1'
    b"</address></client></tunnel>\r\n"
)
QUERY: Final = b'<tunnel action="info" type="v4v6"></tunnel>\r\n'

KEEPALIVE: Final = Keepalive(interval_s=30, address=TEP4)
WISH: Final = Tunnel(action=Action.CREATE, client=End(ipv6=CLIENT6, keepalive=KEEPALIVE))
GIVEN: Final = Tunnel(
    action=Action.INFO,
    lifetime_min=15,
    server=End(ipv4=TEP4, ipv6=TEP6),
    client=End(ipv4=CLIENT4, ipv6=CLIENT6, keepalive=KEEPALIVE),
)


def framed(body: bytes) -> bytes:
    return b"Content-length: %d\r\n%s" % (len(body), body)


class Users:
    """Ann, and nobody else."""

    def __init__(self, *, digest: bool = True) -> None:
        keys = make_keys(PASSWORD, b"0123456789abcdef", ITERATIONS)
        ha1 = secret(USER, REALM, PASSWORD) if digest else None
        self._keys = UserKeys(
            salt=keys.salt,
            iterations=keys.iterations,
            stored_key=keys.stored_key,
            server_key=keys.server_key,
            digest_ha1=ha1,
        )

    def keys_of(self, user: str) -> UserKeys:
        return self._keys if user == USER else make_keys("nobody's", b"salt", ITERATIONS)

    def check_password(self, user: str, password: str) -> bool:
        return (user, password) == (USER, PASSWORD)


_numbers = itertools.count(1000)


def new_nonce() -> str:
    return f"nonce{next(_numbers)}"


def attempts(
    *names: str, users: Users | None = None, certificate: str | None = None, nonce: str = ""
) -> Attempts:
    """The mechanisms `names`, in their order."""
    known = users or Users()
    every: Attempts = {
        "SCRAM-SHA-256": lambda: ScramServer(known, (nonce or new_nonce()).encode()),
        "DIGEST-MD5": lambda: DigestServer(known, REALM, nonce or new_nonce()),
        "PLAIN": lambda: sasl.Plain(known),
        "ANONYMOUS": sasl.Anonymous,
        "EXTERNAL": lambda: sasl.External(certificate),
    }
    return {name: every[name] for name in names}


def session(*names: str, terms: SessionTerms | None = None) -> Session:
    return Session(terms or SessionTerms(), attempts(*(names or ALL)), now=0.0)


def authenticated() -> Session:
    return Session(SessionTerms(), {}, now=0.0, identity=USER)


def credential(
    user: str | None = USER, password: str = PASSWORD, *, plain: bool = False
) -> Credential:
    return Credential(
        host="tsp.example", nonce=new_nonce, user=user, password=password, plain=plain
    )


def sent(server: Session) -> bytes:
    """Everything that the session wants sent, in one piece."""
    return b"".join(chunk.data for chunk in server.chunks())
