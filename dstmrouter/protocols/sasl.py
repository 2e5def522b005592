"""Who is asking: SASL (RFC 4422) as TSP uses it, the server's side.

A `Mechanism` lives for one attempt. `start` and `step` return a `Reply`: a challenge to send, the
identity once it is proved, both (the server's own proof comes with the last step), or neither (the
client speaks next). An attempt that fails raises `AuthenticationError`, whose text is for our log:
the peer learns nothing but that it failed.
"""

from __future__ import annotations

import dataclasses
import hmac
from typing import TYPE_CHECKING, Final, Protocol, TypeAlias

from dstmrouter.errors import DecodeError
from dstmrouter.protocols.sasl_text import decoded

if TYPE_CHECKING:
    from collections.abc import Callable

ANONYMOUS: Final = "ANONYMOUS"
PLAIN: Final = "PLAIN"
EXTERNAL: Final = "EXTERNAL"
DIGEST_MD5: Final = "DIGEST-MD5"
SCRAM_SHA_256: Final = "SCRAM-SHA-256"


class AuthenticationError(DecodeError):
    """An attempt to authenticate that failed."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """What a step leads to; `identity` is set once, and "" is nobody (ANONYMOUS)."""

    challenge: bytes | None = None
    identity: str | None = None


class Mechanism(Protocol):
    """One attempt to authenticate by one mechanism."""

    encoded: bool
    """Whether messages travel in base64; PLAIN is sent raw by deployed clients."""

    def start(self) -> Reply:
        """Begin, after the client has named the mechanism."""
        ...

    def step(self, message: bytes) -> Reply:
        """Take a message of the client."""
        ...


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class UserKeys:
    """What is kept of a password: SCRAM keys (RFC 5802 section 3), and a digest if wanted."""

    salt: bytes
    iterations: int
    stored_key: bytes
    server_key: bytes
    digest_ha1: bytes | None = None  # MD5(user:realm:password), RFC 2831 section 2.1.2.1


class Credentials(Protocol):
    """The users of a server."""

    def keys_of(self, user: str) -> UserKeys:
        """Keys of `user`; of somebody unknown, keys that look the same and fit no password."""
        ...

    def check_password(self, user: str, password: str) -> bool:
        """Whether it is the password of `user`."""
        ...


class Anonymous:
    """Nobody in particular (RFC 4505): the lease is bound to the client's address alone."""

    encoded = False

    def start(self) -> Reply:
        """Let everybody in; TSP has no trace message."""
        return Reply(identity="")

    def step(self, message: bytes) -> Reply:
        """Refuse: there is nothing to say."""
        raise AuthenticationError(f"{len(message)} octets after ANONYMOUS")


class External:
    """Whoever the transport has authenticated: the name in the TLS client certificate."""

    encoded = False

    def __init__(self, identity: str | None) -> None:
        self._identity = identity

    def start(self) -> Reply:
        """Take the transport's word for it."""
        if self._identity is None:
            raise AuthenticationError("EXTERNAL without a client certificate")
        return Reply(identity=self._identity)

    def step(self, message: bytes) -> Reply:
        """Refuse: there is nothing to say."""
        raise AuthenticationError(f"{len(message)} octets after EXTERNAL")


class Plain:
    """User name and password as they are (RFC 4616)."""

    encoded = False

    def __init__(self, credentials: Credentials) -> None:
        self._credentials = credentials

    def start(self) -> Reply:
        """Wait for the password."""
        return Reply()

    def step(self, message: bytes) -> Reply:
        r"""Check `authzid NUL user NUL password`.

        Deployed clients end `AUTHENTICATE PLAIN` by a NUL of its own, which then stands first here.
        """
        parts = message.split(b"\0")
        if len(parts) == 4 and not parts[0]:
            del parts[0]
        if len(parts) != 3:
            raise AuthenticationError("expected authzid, user and password, with NULs between")
        user, password = decoded(parts[1]), decoded(parts[2])
        if parts[0] and decoded(parts[0]) != user:
            raise AuthenticationError("acting for another user")
        if not self._credentials.check_password(user, password):
            raise AuthenticationError("wrong user or password")
        return Reply(identity=user)


def same(one: bytes, other: bytes) -> bool:
    """Whether two secrets are the same, in a time that does not tell where they differ."""
    return hmac.compare_digest(one, other)


Attempts: TypeAlias = "dict[str, Callable[[], Mechanism]]"
"""Ways to begin an attempt, by mechanism, in the order in which they are offered."""
