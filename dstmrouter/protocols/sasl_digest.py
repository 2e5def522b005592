"""DIGEST-MD5 (RFC 2831), both sides, with the server's proof (`rspauth`).

Historic since RFC 6331, and still what deployed TSP clients speak. Only quality `auth`, and only
the first request of a nonce (`nc=00000001`).
"""

from __future__ import annotations

import hashlib
import re
from typing import TYPE_CHECKING, Final

from dstmrouter.protocols.sasl import AuthenticationError, Reply, same
from dstmrouter.protocols.sasl_text import decoded

if TYPE_CHECKING:
    from collections.abc import Mapping

    from dstmrouter.protocols.sasl import Credentials

FIRST_USE: Final = b"00000001"
_ITEM: Final = re.compile(rb'\s*([A-Za-z-]+)\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^",\s]+))\s*(?:,+|\Z)')
_ITEMS_LIMIT: Final = 16


def secret(user: str, realm: str, password: str) -> bytes:
    """MD5(user:realm:password), 16 octets, which a server keeps; RFC 2831 section 2.1.2.1."""
    return _md5(b":".join(_octets(text) for text in (user, realm, password)))


def _octets(text: str) -> bytes:
    """ISO 8859-1 where it suffices, else UTF-8: the rule of section 2.1.2.1."""
    try:
        return text.encode("latin-1")
    except UnicodeEncodeError:
        return text.encode("utf-8")


class DigestServer:
    """One attempt; `nonce` must be new and unpredictable, printable and without quotes."""

    encoded = True

    def __init__(self, credentials: Credentials, realm: str, nonce: str) -> None:
        self._credentials = credentials
        self._realm = realm
        self._nonce = nonce

    def start(self) -> Reply:
        """Challenge the client; every item is needed by some deployed client."""
        text = f'realm="{self._realm}",nonce="{self._nonce}",qop="auth"'
        return Reply(challenge=f"{text},algorithm=md5-sess,charset=utf-8".encode("ascii"))

    def step(self, message: bytes) -> Reply:
        """Check the client's response, and prove that we know the password too."""
        items = parse(message)
        self._check_frame(items)
        user = decoded(_needed(items, "username"))
        authzid = items.get("authzid")
        if authzid and decoded(authzid) != user:
            raise AuthenticationError("DIGEST-MD5: acting for another user")
        ha1 = self._credentials.keys_of(user).digest_ha1
        if ha1 is None:
            raise AuthenticationError("DIGEST-MD5: no digest is kept for the user")
        if not same(_needed(items, "response"), response(ha1, items, b"AUTHENTICATE")):
            raise AuthenticationError("DIGEST-MD5: wrong user or password")
        return Reply(challenge=b"rspauth=" + response(ha1, items, b""), identity=user)

    def _check_frame(self, items: Mapping[str, bytes]) -> None:
        """Everything but the secret, RFC 2831 section 2.1.2."""
        wanted = {"realm": self._realm.encode(), "nonce": self._nonce.encode(), "nc": FIRST_USE}
        for name, value in wanted.items():
            if not same(_needed(items, name), value):
                raise AuthenticationError(f"DIGEST-MD5: unexpected {name}")
        if items.get("qop", b"auth") != b"auth":
            raise AuthenticationError("DIGEST-MD5: unexpected qop")
        # The host after tsp/ is the client's own name for us, of which there may be many.
        if not _needed(items, "digest-uri").lower().startswith(b"tsp/"):
            raise AuthenticationError("DIGEST-MD5: unexpected digest-uri")


class DigestClient:
    """One attempt as `user` at `host`; `cnonce` must be new and unpredictable."""

    encoded = True

    def __init__(self, user: str, password: str, *, host: str, cnonce: str) -> None:
        self._user = user
        self._password = password
        self._host = host
        self._cnonce = cnonce
        self._expected: bytes | None = None
        self.satisfied = False

    def start(self) -> bytes | None:
        """Wait for the challenge."""
        return None

    def step(self, challenge: bytes) -> bytes | None:
        """Answer the server; AuthenticationError if it does not know the password either."""
        items = parse(challenge)
        if self._expected is not None:
            if not same(_needed(items, "rspauth"), self._expected):
                raise AuthenticationError("DIGEST-MD5: the server does not know the password")
            self.satisfied = True
            return None
        realm, nonce = _needed(items, "realm"), _needed(items, "nonce")
        answer = {
            "charset": b"utf-8",
            "username": self._user.encode(),
            "realm": realm,
            "nonce": nonce,
            "nc": FIRST_USE,
            "cnonce": self._cnonce.encode("ascii"),
            "digest-uri": f"tsp/{self._host}".encode(),
            "qop": b"auth",
        }
        ha1 = secret(self._user, realm.decode("utf-8", "replace"), self._password)
        answer["response"] = response(ha1, answer, b"AUTHENTICATE")
        self._expected = response(ha1, answer, b"")
        return b",".join(_item(name, value) for name, value in answer.items())


_BARE: Final = frozenset({"charset", "nc", "response", "qop"})  # section 2.1.2: not quoted


def _item(name: str, value: bytes) -> bytes:
    if name in _BARE:
        return name.encode("ascii") + b"=" + value
    escaped = value.replace(b"\\", b"\\\\").replace(b'"', b'\\"')
    return name.encode("ascii") + b'="' + escaped + b'"'


def parse(message: bytes) -> dict[str, bytes]:
    """Items of a challenge or response by name in lower case, separated by commas."""
    items: dict[str, bytes] = {}
    at = 0
    while at < len(message):
        found = _ITEM.match(message, at)
        if found is None or found[1].decode("ascii").lower() in items or len(items) == _ITEMS_LIMIT:
            raise AuthenticationError("DIGEST-MD5: expected name=value items, each once")
        quoted, bare = found[2], found[3]
        value = bare if quoted is None else re.sub(rb"\\(.)", rb"\1", quoted, flags=re.DOTALL)
        items[found[1].decode("ascii").lower()] = value
        at = found.end()
    return items


def _needed(items: Mapping[str, bytes], name: str) -> bytes:
    try:
        return items[name]
    except KeyError:
        raise AuthenticationError(f"DIGEST-MD5: {name} is missing") from None


def response(ha1: bytes, items: Mapping[str, bytes], method: bytes) -> bytes:
    """The hash that proves the password, section 2.1.2.1; `method` b"" is that of `rspauth`."""
    nonce, cnonce = _needed(items, "nonce"), _needed(items, "cnonce")
    a1 = b":".join((ha1, nonce, cnonce))
    if items.get("authzid"):  # empty, as GNU SASL may send it, it counts as absent
        a1 += b":" + items["authzid"]
    a2 = method + b":" + _needed(items, "digest-uri")
    middle = b":".join((nonce, _needed(items, "nc"), cnonce, items.get("qop", b"auth")))
    return _hex(b":".join((_hex(a1), middle, _hex(a2))))


def _md5(octets: bytes) -> bytes:
    return hashlib.md5(octets, usedforsecurity=False).digest()  # what the mechanism is made of


def _hex(octets: bytes) -> bytes:
    return _md5(octets).hex().encode("ascii")
