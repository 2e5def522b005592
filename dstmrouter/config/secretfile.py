"""Files that hold a secret: nobody but their owner may read them."""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING, Final

from dstmrouter.errors import ConfigError

if TYPE_CHECKING:
    from pathlib import Path

FORBIDDEN_MODE: Final = 0o077
SECRET_LEN: Final = 4096  # octets; far more than a password or pass phrase


def check_secret(path: Path) -> None:
    """ConfigError unless `path` is a file that its owner, this user or root, alone may read."""
    try:
        found = path.stat()
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}") from None
    if not stat.S_ISREG(found.st_mode):
        raise ConfigError(f"{path}: expected a plain file")
    if found.st_mode & FORBIDDEN_MODE:
        mode = stat.S_IMODE(found.st_mode)
        raise ConfigError(f"{path}: mode {mode:04o}, expected 0600: others may read the secret")
    if found.st_uid not in {0, os.geteuid()}:
        raise ConfigError(f"{path}: belongs to user {found.st_uid}, expected our own or root")


def read_secret(path: Path) -> str:
    """The one line of text in `path`; the text is in no error message."""
    check_secret(path)
    try:
        with path.open("rb") as file:
            octets = file.read(SECRET_LEN + 1)
        text = octets.decode("utf-8").removesuffix("\n").removesuffix("\r")
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}") from None
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path}: octet {error.start}: expected UTF-8") from None
    if not text or len(octets) > SECRET_LEN or not text.isprintable():
        raise ConfigError(f"{path}: expected one line of 1 to {SECRET_LEN} octets")
    return text
