"""The users of the TSP server: a file of one line per user, readable by its owner alone.

    name : iterations : salt : stored key : server key [: digest]

Keys in base64. From SCRAM's keys (RFC 5802) nobody can log in; the digest is what DIGEST-MD5 needs,
good as a password for that mechanism in one realm, and kept only where it is wanted.
"""

from __future__ import annotations

import base64
import contextlib
import dataclasses
import hmac
import os
import re
import secrets
import time
from typing import TYPE_CHECKING, Final

from dstmrouter.errors import ConfigError, DecodeError
from dstmrouter.leases.rate import Rate, TokenBuckets
from dstmrouter.protocols.sasl import UserKeys, same
from dstmrouter.protocols.sasl_digest import secret
from dstmrouter.protocols.sasl_scram import ITERATIONS, make_keys
from dstmrouter.protocols.sasl_text import prepared, unbase64

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

SALT_OCTETS: Final = 16
CHECKS: Final = Rate(per_s=20, burst=40)  # a fifth of a core
_NAME: Final = re.compile(r"[^\s:#][^:\n]*")
_HEADER: Final = "# Users of the TSP server; kept by `dstmctl tsp-user`.\n"


def new_keys(user: str, password: str, *, digest_realm: str | None) -> UserKeys:
    """Keys to keep of a password; ConfigError if name or password cannot be used."""
    try:
        if not _NAME.fullmatch(prepared(user)):
            raise ConfigError(f"user {user!r}: expected a name without colon")
        keys = make_keys(password, secrets.token_bytes(SALT_OCTETS))
    except DecodeError as error:
        raise ConfigError(f"user {user!r:.40}: {error}") from None
    if digest_realm is None:
        return keys
    return dataclasses.replace(keys, digest_ha1=secret(user, digest_realm, password))


def load_users(path: Path) -> dict[str, UserKeys]:
    """Read the file; ConfigError says what is wrong with which line, or with its mode."""
    try:
        with path.open(encoding="utf-8") as file:
            mode = os.fstat(file.fileno()).st_mode
            lines = file.read().splitlines()
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "expected UTF-8"
        raise ConfigError(f"{path}: {reason}") from None
    if mode & 0o077:
        raise ConfigError(f"{path}: mode {mode & 0o777:04o}: expected 0600, others can read it")
    users: dict[str, UserKeys] = {}
    for number, line in enumerate(lines, 1):
        if not line.strip() or line.startswith("#"):
            continue
        try:
            name, keys = _decode(line)
        except (DecodeError, ValueError):
            text = "expected name:iterations:salt:stored key:server key[:digest]"
            raise ConfigError(f"{path}: line {number}: {text}") from None
        if name in users:
            raise ConfigError(f"{path}: line {number}: user {name!r} a second time")
        users[name] = keys
    return users


def save_users(path: Path, users: Mapping[str, UserKeys]) -> None:
    """Replace the file, mode 0600, at once: a reader sees the old or the new one whole."""
    text = _HEADER + "".join(_encode(name, keys) for name, keys in sorted(users.items()))
    fresh = path.with_name(f"{path.name}.{os.getpid()}")
    try:
        handle = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            with open(handle, "w", encoding="utf-8") as file:
                file.write(text)
                file.flush()
                os.fsync(file.fileno())
            fresh.replace(path)
        except BaseException:
            with contextlib.suppress(OSError):
                fresh.unlink()
            raise
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}") from None


class Users:
    """The users of the file as the mechanisms want them; `reload` reads it again.

    Checking a password takes 10 ms of the process. So that strangers cannot keep it busy, `checks`
    limits them in all, and a password that was right is known again (by a MAC) without a check.
    """

    def __init__(self, path: Path | None, checks: TokenBuckets | None = None) -> None:
        self._path = path
        self._users = load_users(path) if path is not None else {}
        self._decoy = secrets.token_bytes(32)
        self._checks = TokenBuckets(CHECKS) if checks is None else checks
        self._right: dict[str, bytes] = {}

    def reload(self) -> None:
        """Read the file again; ConfigError leaves everything as it was."""
        if self._path is not None:
            self._users = load_users(self._path)
            self._right.clear()

    def keys_of(self, user: str) -> UserKeys:
        """Keys of `user`; of somebody unknown, keys that look the same and fit no password."""
        return self._users.get(user) or self._decoy_of(user)

    def check_password(self, user: str, password: str) -> bool:
        """Whether it is the password of `user`; as slow for somebody unknown.

        False, too, when more was asked than can be checked.
        """
        mac = hmac.digest(self._decoy, f"{user}\0{password}".encode(), "sha256")
        if same(self._right.get(user, b""), mac):
            return True
        if not self._checks.try_take(0, time.monotonic()):
            return False
        kept = self.keys_of(user)
        tried = make_keys(password, kept.salt, kept.iterations)
        if user not in self._users or not same(tried.stored_key, kept.stored_key):
            return False
        self._right[user] = mac
        return True

    def _decoy_of(self, user: str) -> UserKeys:
        """The same for the same name every time, as the keys of a real user are."""
        salt, stored, server, digest = (
            hmac.digest(self._decoy, f"{what} {user}".encode(), "sha256")
            for what in ("salt", "stored", "server", "digest")
        )
        return UserKeys(
            salt=salt[:SALT_OCTETS],
            iterations=ITERATIONS,
            stored_key=stored,
            server_key=server,
            digest_ha1=digest[:16],
        )


def _encode(name: str, keys: UserKeys) -> str:
    octets = [keys.salt, keys.stored_key, keys.server_key]
    if keys.digest_ha1 is not None:
        octets.append(keys.digest_ha1)
    fields = [base64.b64encode(part).decode("ascii") for part in octets]
    return ":".join((name, str(keys.iterations), *fields)) + "\n"


def _decode(line: str) -> tuple[str, UserKeys]:
    name, iterations, salt, stored, server, *digest = line.rstrip().split(":")
    octets = [unbase64(part.encode()) for part in (salt, stored, server, *digest)]
    lengths = [len(part) for part in octets[1:]]
    if not _NAME.fullmatch(name) or lengths not in ([32, 32], [32, 32, 16]) or not octets[0]:
        raise DecodeError("fields of other lengths")
    if not 1 <= int(iterations) <= 10_000_000:
        raise DecodeError("iterations out of range")
    keys = UserKeys(
        salt=octets[0],
        iterations=int(iterations),
        stored_key=octets[1],
        server_key=octets[2],
        digest_ha1=octets[3] if digest else None,
    )
    return name, keys
