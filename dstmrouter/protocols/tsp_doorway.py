"""The part of a TSP dialogue over UDP in which the server remembers nothing.

Anybody can send a datagram in somebody else's name. So until a client has shown that it receives
what is sent to its address, by repeating our nonce, and who it is, each message is answered from
the message alone: the nonce of a challenge is a MAC over address, port and time, with what must be
known again later in it. A nonce is good once, and for `NONCE_S`.

PLAIN repeats nothing, but its sender knows a password. ANONYMOUS proves nothing at all: offer it
over UDP only where source addresses cannot be forged.
"""

from __future__ import annotations

import base64
import dataclasses
import hmac
import re
from typing import TYPE_CHECKING, Final

from dstmrouter.errors import DecodeError
from dstmrouter.protocols.sasl import DIGEST_MD5, PLAIN, SCRAM_SHA_256, AuthenticationError
from dstmrouter.protocols.sasl_digest import DigestServer, parse
from dstmrouter.protocols.sasl_scram import ScramServer
from dstmrouter.protocols.sasl_text import unbase64
from dstmrouter.protocols.tsp_greeting import VERSIONS, capability_line, decode_version
from dstmrouter.protocols.tsp_session import mechanism_name, message_in
from dstmrouter.protocols.tsp_state import Ending
from dstmrouter.protocols.tsp_status import Status

if TYPE_CHECKING:
    from dstmrouter.protocols.sasl import Attempts, Credentials, Reply

NONCE_S: Final = 30
USED_LIMIT: Final = 10_000  # nonces that were good once, within NONCE_S; more get no entry

_NONCE: Final = re.compile(r"([0-9a-f]{12})\.([A-Za-z0-9+/=]*)\.([0-9a-f]{32})")
_MESSAGE: Final = re.compile(rb"[A-Za-z0-9+/]{4,}={0,2}[\s\0]*")


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """What to answer; `identity` is set when the client has proved it, `ending` when it failed."""

    payloads: tuple[bytes, ...] = ()
    identity: str | None = None
    ending: Ending | None = None


class Doorway:
    """Answers messages of clients that have no session; `key` is secret and never changes."""

    def __init__(
        self, attempts: Attempts, credentials: Credentials, *, realm: str, key: bytes
    ) -> None:
        self._attempts = attempts
        self._credentials = credentials
        self._realm = realm
        self._key = key
        self._used: dict[str, float] = {}

    def answer(self, message: bytes, source: bytes, now: float) -> Entry | None:
        """Answer a message of `source` (address and port); None if it is not for the doorway."""
        try:
            return self._answer(message, source, now)
        except AuthenticationError:
            return _refusal(Ending.AUTHENTICATION_FAILED, Status.AUTHENTICATION_FAILED)
        except DecodeError:
            return _refusal(Ending.MALFORMED, Status.BAD_REQUEST)

    def _answer(self, message: bytes, source: bytes, now: float) -> Entry | None:
        line = message.strip(b"\0 \r\n")
        word = line[:12].upper()
        if word.startswith(b"VERSION="):
            return self._greet(line)
        if word.startswith(b"AUTHENTICATE"):
            return self._choose(line, source, now)
        if line.count(b"\0") and PLAIN in self._attempts:
            # As it came but for line end and padding: its first NUL belongs to it.
            return _entry(self._attempts[PLAIN]().step(message.rstrip(b"\0\r\n")))
        if _MESSAGE.fullmatch(message):
            return self._prove(message_in(line, encoded=True), source, now)
        return None

    def _greet(self, line: bytes) -> Entry:
        if decode_version(line) not in VERSIONS:
            return _refusal(Ending.UNSUPPORTED_VERSION, Status.BAD_VERSION)
        return Entry(payloads=(capability_line(self._attempts),))

    def _choose(self, line: bytes, source: bytes, now: float) -> Entry:
        name = mechanism_name(line)
        if name not in self._attempts:
            raise AuthenticationError("no such mechanism")
        if name == DIGEST_MD5:
            return _entry(self._digest(self._nonce(source, now)).start())
        return _entry(self._attempts[name]().start())

    def _prove(self, message: bytes, source: bytes, now: float) -> Entry:
        if SCRAM_SHA_256 in self._attempts and message.startswith((b"n,", b"y,")):
            nonce = self._nonce(source, now, message)
            return _entry(self._scram(nonce).step(message))
        if SCRAM_SHA_256 in self._attempts and message.startswith(b"c="):
            return self._scram_final(message, source, now)
        if DIGEST_MD5 in self._attempts and b"nonce" in message:
            nonce = parse(message).get("nonce", b"").decode("ascii", "replace")
            self._check(nonce, source, now)
            return self._once(nonce, now, self._digest(nonce).step(message))
        raise AuthenticationError("a message of no mechanism")

    def _scram_final(self, message: bytes, source: bytes, now: float) -> Entry:
        found = _NONCE.search(message.decode("ascii", "replace"))
        if found is None:
            raise AuthenticationError("SCRAM: not our nonce")
        first = self._check(found[0], source, now)
        attempt = self._scram(found[0])
        attempt.step(first)
        return self._once(found[0], now, attempt.step(message))

    def _digest(self, nonce: str) -> DigestServer:
        return DigestServer(self._credentials, self._realm, nonce)

    def _scram(self, nonce: str) -> ScramServer:
        return ScramServer(self._credentials, nonce.encode("ascii"))

    def _nonce(self, source: bytes, now: float, told: bytes = b"") -> str:
        """A nonce for `source` from which `told` can be read again."""
        return self._signed(f"{int(now * 1000):012x}", base64.b64encode(told).decode(), source)

    def _signed(self, when: str, told: str, source: bytes) -> str:
        mac = hmac.digest(self._key, f"{when}.{told}.".encode() + source, "sha256")
        return f"{when}.{told}.{mac[:16].hex()}"

    def _check(self, nonce: str, source: bytes, now: float) -> bytes:
        """What was told when the nonce was made; it must be ours, for `source`, and fresh."""
        found = _NONCE.fullmatch(nonce)
        if found is None or not hmac.compare_digest(
            self._signed(found[1], found[2], source), nonce
        ):
            raise AuthenticationError("not our nonce")
        if not 0 <= now - int(found[1], 16) / 1000 <= NONCE_S or nonce in self._used:
            raise AuthenticationError("an old nonce")
        return unbase64(found[2].encode())

    def _once(self, nonce: str, now: float, reply: Reply) -> Entry:
        """Note that `nonce` has let somebody in."""
        if len(self._used) >= USED_LIMIT:
            self._used = {old: until for old, until in self._used.items() if until >= now}
        if len(self._used) >= USED_LIMIT:
            raise AuthenticationError("too many at once")
        self._used[nonce] = now + NONCE_S
        return _entry(reply)


def _entry(reply: Reply) -> Entry:
    """The messages of a mechanism's step; who is let in is welcomed by its session."""
    challenge = reply.challenge
    told = () if challenge is None else (base64.b64encode(challenge) + b"\r\n",)
    return Entry(payloads=told, identity=reply.identity)


def _refusal(ending: Ending, status: Status) -> Entry:
    return Entry(payloads=(status.line(),), ending=ending)
