"""CURVE keys (ZeroMQ RFC 26): made, kept in files, given to sockets.

A key file is a ZeroMQ certificate (ZPL, as czmq and `zmq.auth` write it), so other tools can read
it. The secret one must be readable by its owner alone.
"""

from __future__ import annotations

import dataclasses
import os
import stat
import struct
from typing import TYPE_CHECKING, Final

import zmq
import zmq.auth
from zmq.utils import z85

from dstmrouter.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

_FORBIDDEN_MODE: Final = stat.S_IRWXG | stat.S_IRWXO


@dataclasses.dataclass(frozen=True, slots=True)
class KeyPair:
    """A long-term CURVE key pair, both halves in Z85 (40 characters)."""

    public: str
    secret: str = dataclasses.field(repr=False)

    @classmethod
    def generate(cls) -> KeyPair:
        """Return a fresh pair from the system's random numbers."""
        public, secret = zmq.curve_keypair()
        return cls(public.decode("ascii"), secret.decode("ascii"))


@dataclasses.dataclass(frozen=True, slots=True)
class CurveServer:
    """Our keys for a bound socket, and who may connect: public key (Z85) -> name."""

    keys: KeyPair
    allowed: Mapping[str, str]

    def __post_init__(self) -> None:
        for key, name in self.allowed.items():
            check_public_key(key, f"allowed key of {name}")


@dataclasses.dataclass(frozen=True, slots=True)
class CurveClient:
    """Our keys for a connecting socket, and the public key (Z85) the other side must prove."""

    keys: KeyPair
    server_key: str

    def __post_init__(self) -> None:
        check_public_key(self.server_key, "server key")


def check_public_key(key: str, what: str) -> None:
    """Raise ConfigError unless `key` is the Z85 form of 32 octets."""
    if not _is_key(key):
        raise ConfigError(f"{what} {key!r:.50}: expected 40 characters of Z85")


def _is_key(text: str) -> bool:
    try:
        return len(z85.decode(text)) == 32
    except (KeyError, ValueError, struct.error):  # no such digit, length, five digits over 2^32
        return False


def write_keys(pair: KeyPair, secret_file: Path) -> Path:
    """Write `secret_file` (mode 0600) and its public half beside it; existing files are kept.

    Returns the public file: the same name with `.pub` added.
    """
    public_file = secret_file.with_name(secret_file.name + ".pub")
    secret = f'curve\n    public-key = "{pair.public}"\n    secret-key = "{pair.secret}"\n'
    public = f'curve\n    public-key = "{pair.public}"\n'
    _write_new(secret_file, secret, 0o600)
    _write_new(public_file, public, 0o644)
    return public_file


def _write_new(path: Path, text: str, mode: int) -> None:
    try:
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, mode)
        with os.fdopen(fd, "w", encoding="ascii") as file:
            os.fchmod(fd, mode)  # whatever the umask says
            file.write(text)
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}") from error


def load_keys(secret_file: Path) -> KeyPair:
    """Read a secret key file; ConfigError when it is missing, malformed or readable by others."""
    try:
        mode = secret_file.stat().st_mode
    except OSError as error:
        raise ConfigError(f"{secret_file}: {error.strerror}") from error
    if mode & _FORBIDDEN_MODE:
        raise ConfigError(
            f"{secret_file}: mode {stat.S_IMODE(mode):04o}, expected 0600: others may read the key"
        )
    try:
        public, secret = zmq.auth.load_certificate(secret_file)
    except (OSError, ValueError, IndexError) as error:  # IndexError: a key line without "="
        raise ConfigError(f"{secret_file}: no CURVE key file: {error}") from error
    pair = KeyPair(public.decode("ascii", "replace"), (secret or b"").decode("ascii", "replace"))
    if not _is_key(pair.secret):  # the text itself must not get into a log
        raise ConfigError(f"{secret_file}: holds no secret key of 40 characters of Z85")
    if zmq.curve_public(pair.secret.encode("ascii")) != public:
        raise ConfigError(f"{secret_file}: public and secret key are no pair")
    return pair
