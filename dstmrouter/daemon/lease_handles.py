"""Lease numbers as RPC clients see them: 64 bits that only the holder was told.

The calls about a lease (RENEW, RELEASE, QUERY) have no room for a cookie, and the source address of
a datagram can be anybody's. So `lease_id` on the wire is a keyed digest of the lease: who knows it
has received it at client6. The key is kept on disk, for leases outlive the server.
"""

from __future__ import annotations

import hmac
import os
import secrets
from typing import TYPE_CHECKING, Final

from dstmrouter.errors import ConfigError

if TYPE_CHECKING:
    from pathlib import Path

    from dstmrouter.leases.lease import Lease

KEY_LEN: Final = 32  # octets


class LeaseHandles:
    """Digests of leases with `key`."""

    def __init__(self, key: bytes) -> None:
        self._key = key

    def of(self, lease: Lease) -> int:
        """The number of `lease` on the wire; the same for as long as the lease lasts."""
        message = lease.lease_id.to_bytes(8, "big") + lease.ipv4.packed + lease.client6.packed
        return int.from_bytes(hmac.digest(self._key, message, "sha256")[:8], "big")

    def fits(self, handle: int, lease: Lease) -> bool:
        """Whether `handle` is that of `lease`."""
        return hmac.compare_digest(handle.to_bytes(8, "big"), self.of(lease).to_bytes(8, "big"))


def load_key(path: Path) -> bytes:
    """The key in the file at `path`, made when there is none; ConfigError if it cannot be used."""
    try:
        key = path.read_bytes() if path.exists() else _make_key(path)
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}") from None
    if len(key) != KEY_LEN:
        raise ConfigError(f"{path}: {len(key)} octets, expected a key of {KEY_LEN}")
    return key


def _make_key(path: Path) -> bytes:
    """Write first, then name it: a crash leaves a whole key or none."""
    key = secrets.token_bytes(KEY_LEN)
    unfinished = path.with_name(path.name + ".new")
    unfinished.unlink(missing_ok=True)
    fd = os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with os.fdopen(fd, "wb") as file:
        file.write(key)
        file.flush()
        os.fsync(fd)
    unfinished.replace(path)
    return key
