"""Who we are to a server, and which of its mechanisms we use for that."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Protocol

from dstmrouter.errors import DecodeError
from dstmrouter.protocols.sasl import ANONYMOUS, DIGEST_MD5, EXTERNAL, PLAIN, SCRAM_SHA_256
from dstmrouter.protocols.sasl_digest import DigestClient
from dstmrouter.protocols.sasl_scram import ScramClient
from dstmrouter.protocols.sasl_text import prepared

if TYPE_CHECKING:
    from collections.abc import Callable, Collection


class ClientMechanism(Protocol):
    """One attempt; `satisfied` once the server has proved what it can prove."""

    encoded: bool
    satisfied: bool

    def start(self) -> bytes | None:
        """What to say right after naming the mechanism."""
        ...

    def step(self, challenge: bytes) -> bytes | None:
        """Answer a challenge; AuthenticationError if the server is not whom it should be."""
        ...


class Told:
    """A mechanism in which the client says one thing, or nothing, and the server proves nothing."""

    encoded = False
    satisfied = True

    def __init__(self, message: bytes | None = None) -> None:
        self._message = message

    def start(self) -> bytes | None:
        """Say it."""
        return self._message

    def step(self, challenge: bytes) -> bytes | None:
        """Refuse: there is nothing to answer."""
        raise DecodeError(f"a challenge of {len(challenge)} octets, where none belongs")


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Credential:
    """Who we are; nobody without `user` and `certificate`.

    `nonce` makes a new unpredictable text; `host` is the server as we call it. A password in the
    clear is sent only where `private` says that nobody listens, or with `plain` whatever happens.
    """

    host: str
    nonce: Callable[[], str]
    user: str | None = None
    password: str = dataclasses.field(default="", repr=False)
    certificate: bool = False
    private: bool = False
    plain: bool = False

    def mechanism(self, offered: Collection[str]) -> tuple[str, ClientMechanism] | None:
        """The best of the mechanisms `offered` that we may use; None if there is none."""
        return next(((name, make()) for name, make in self._ways() if name in offered), None)

    def _ways(self) -> list[tuple[str, Callable[[], ClientMechanism]]]:
        if self.certificate:
            return [(EXTERNAL, Told)]
        if self.user is None:
            return [(ANONYMOUS, Told)]
        ways: list[tuple[str, Callable[[], ClientMechanism]]] = [
            (SCRAM_SHA_256, self._scram),
            (DIGEST_MD5, self._digest),
        ]
        return [*ways, (PLAIN, self._plain)] if self.private or self.plain else ways

    def _scram(self) -> ScramClient:
        assert self.user is not None
        return ScramClient(self.user, self.password, self.nonce().encode("ascii"))

    def _digest(self) -> DigestClient:
        assert self.user is not None
        return DigestClient(self.user, self.password, host=self.host, cnonce=self.nonce())

    def _plain(self) -> Told:
        assert self.user is not None
        return Told(f"\0{prepared(self.user)}\0{prepared(self.password)}".encode())
