"""SCRAM-SHA-256 (RFC 5802 with RFC 7677), both sides, without channel binding.

    client  n,,n=user,r=C          server  r=CS,s=salt,i=iterations
    client  c=biws,r=CS,p=proof    server  v=signature

The server keeps `stored_key` and `server_key` (`sasl.UserKeys`), from which nobody can log in.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
from typing import TYPE_CHECKING, Final

from dstmrouter.protocols.sasl import AuthenticationError, Reply, UserKeys, same
from dstmrouter.protocols.sasl_text import decoded, prepared, unbase64

if TYPE_CHECKING:
    from dstmrouter.protocols.sasl import Credentials

ITERATIONS: Final = 15_000
"""RFC 7677 section 4 asks for 4,096 at least and recommends 15,000: 6 ms of a core."""

ITERATIONS_LIMIT: Final = 1_000_000
"""What a client computes for a server; more would be an attack on it."""

_FIRST: Final = re.compile(rb"([ny]),(?:a=([^,]+))?,(n=([^,]+),r=([!-+\--~]{1,256})(?:,.*)?)")
_SERVER_FIRST: Final = re.compile(
    rb"r=([!-+\--~]{1,512}),s=([A-Za-z0-9+/=]+),i=([0-9]{1,7})(?:,.*)?"
)
_FINAL: Final = re.compile(
    rb"(c=([A-Za-z0-9+/=]+),r=([!-+\--~]{1,512})(?:,.*)?),p=([A-Za-z0-9+/=]+)"
)


def make_keys(password: str, salt: bytes, iterations: int = ITERATIONS) -> UserKeys:
    """What a server keeps of `password`, RFC 5802 section 3."""
    salted = _salted(password, salt, iterations)
    stored = hashlib.sha256(_mac(salted, b"Client Key")).digest()
    return UserKeys(
        salt=salt,
        iterations=iterations,
        stored_key=stored,
        server_key=_mac(salted, b"Server Key"),
    )


class ScramServer:
    """One attempt; `nonce` must be new and unpredictable, printable and without comma."""

    encoded = True

    def __init__(self, credentials: Credentials, nonce: bytes) -> None:
        self._credentials = credentials
        self._nonce = nonce
        self._user = ""
        self._keys: UserKeys | None = None
        self._gs2 = b""
        self._said = b""  # both first messages, for the proof
        self._full_nonce = b""

    def start(self) -> Reply:
        """Wait for the client's first message."""
        return Reply()

    def step(self, message: bytes) -> Reply:
        """Take the first or the final message of the client."""
        return self._first(message) if self._keys is None else self._final(message, self._keys)

    def _first(self, message: bytes) -> Reply:
        found = _FIRST.fullmatch(message)
        if found is None:
            raise AuthenticationError("SCRAM: expected a first message without channel binding")
        self._user = decoded(_unescaped(found[4]))
        if found[2] is not None and decoded(_unescaped(found[2])) != self._user:
            raise AuthenticationError("SCRAM: acting for another user")
        if b",m=" in found[3]:  # RFC 5802 section 5.1: an extension that must be understood
            raise AuthenticationError("SCRAM: mandatory extension")
        self._keys = keys = self._credentials.keys_of(self._user)
        self._gs2 = message[: len(message) - len(found[3])]
        self._full_nonce = found[5] + self._nonce
        salt = base64.b64encode(keys.salt)
        challenge = b"r=%s,s=%s,i=%d" % (self._full_nonce, salt, keys.iterations)
        self._said = found[3] + b"," + challenge
        return Reply(challenge=challenge)

    def _final(self, message: bytes, keys: UserKeys) -> Reply:
        found = _FINAL.fullmatch(message)
        if found is None:
            raise AuthenticationError("SCRAM: expected a final message")
        if not same(found[3], self._full_nonce) or unbase64(found[2]) != self._gs2:
            raise AuthenticationError("SCRAM: another nonce or header than before")
        said = self._said + b"," + found[1]
        proof, signature = unbase64(found[4]), _mac(keys.stored_key, said)
        if len(proof) != len(signature):
            raise AuthenticationError("SCRAM: expected a proof of 32 octets")
        if not same(hashlib.sha256(_xor(proof, signature)).digest(), keys.stored_key):
            raise AuthenticationError("SCRAM: wrong user or password")
        verifier = base64.b64encode(_mac(keys.server_key, said))
        return Reply(challenge=b"v=" + verifier, identity=self._user)


class ScramClient:
    """One attempt; `nonce` as for the server."""

    encoded = True

    def __init__(self, user: str, password: str, nonce: bytes) -> None:
        self._nonce = nonce
        self._password = password
        name = prepared(user).replace("=", "=3D").replace(",", "=2C").encode()
        self._first = b"n=%s,r=%s" % (name, nonce)
        self._expected: bytes | None = None
        self.satisfied = False

    def start(self) -> bytes | None:
        """The client's first message."""
        return b"n,," + self._first

    def step(self, challenge: bytes) -> bytes | None:
        """Answer the server; AuthenticationError if it does not know the password either."""
        if self._expected is not None:
            if not same(challenge, b"v=" + base64.b64encode(self._expected)):
                raise AuthenticationError("SCRAM: the server does not know the password")
            self.satisfied = True
            return None
        found = _SERVER_FIRST.fullmatch(challenge)
        if found is None or not found[1].startswith(self._nonce) or found[1] == self._nonce:
            raise AuthenticationError("SCRAM: unexpected challenge")
        iterations = int(found[3])
        if not 1 <= iterations <= ITERATIONS_LIMIT:
            raise AuthenticationError(f"SCRAM: {iterations} iterations")
        salted = _salted(self._password, unbase64(found[2]), iterations)
        final = b"c=biws,r=" + found[1]
        said = b",".join((self._first, challenge, final))
        key = _mac(salted, b"Client Key")
        proof = _xor(key, _mac(hashlib.sha256(key).digest(), said))
        self._expected = _mac(_mac(salted, b"Server Key"), said)
        return final + b",p=" + base64.b64encode(proof)


def _unescaped(name: bytes) -> bytes:
    if re.search(rb"=(?!2C|3D)", name):
        raise AuthenticationError("SCRAM: a user name with = that is no escape")
    return name.replace(b"=2C", b",").replace(b"=3D", b"=")


def _salted(password: str, salt: bytes, iterations: int) -> bytes:
    return hashlib.pbkdf2_hmac("sha256", prepared(password).encode(), salt, iterations)


def _mac(key: bytes, message: bytes) -> bytes:
    return hmac.digest(key, message, "sha256")


def _xor(one: bytes, other: bytes) -> bytes:
    return bytes(a ^ b for a, b in zip(one, other, strict=True))
