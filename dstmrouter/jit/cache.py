"""Where compiled code is kept between starts: compiling takes seconds, loading it a tenth of one.

Numba notices a change only in the file of the function it compiled, but our kernels have numbers of
other modules in them (verdicts, layouts of rows and headers). So the directory is named after the
text of all of them, and of the versions that compiled it.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib.metadata
import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Final

import dstmrouter

if TYPE_CHECKING:
    from collections.abc import Iterator

_PACKAGE: Final = Path(dstmrouter.__file__).parent
_SOURCES: Final = ("daemon/compiled", "io", "jit", "pipeline", "wire")
CACHE_VARIABLE: Final = "CACHE_DIRECTORY"
_LARGEST: Final = "burst.forward"  # takes most of the time, and every worker loads it
_KEPT_S: Final = 30 * 24 * 3600.0  # somebody may go back to an older version
_COMPILERS: Final = ("numba", "llvmlite", "numpy")


def directory() -> Path | None:
    """The directory for compiled code of these sources: beside them, or in the user's cache.

    None when neither can be written, as under a hardened systemd unit without a cache directory:
    then every start compiles. A directory that others can write is no choice, it holds code.
    """
    digest = hashlib.sha256()
    for top in _SOURCES:
        for source in sorted((_PACKAGE / top).rglob("*.py")):
            digest.update(source.read_bytes())
    for name in _COMPILERS:
        digest.update(f"{name} {importlib.metadata.version(name)}".encode())
    name = f"compiled-{digest.hexdigest()[:16]}"
    found = next((base / name for base in _bases() if _is_ours(base / name)), None)
    if found is not None:
        _forget_others(found)
    return found


def is_filled() -> bool:
    """Whether the fast path has been compiled and kept, so that it only has to be loaded."""
    kept = directory()
    return kept is not None and any(kept.rglob(f"{_LARGEST}*.nbi"))


def _forget_others(used: Path) -> None:
    """Remove code of other sources that no start has asked for in a long time; note this one."""
    with contextlib.suppress(OSError):  # another process is at it, or they are not ours
        os.utime(used)
        now = used.stat().st_mtime
        for other in used.parent.glob("compiled-*"):
            if other.stat().st_mtime < now - _KEPT_S:
                shutil.rmtree(other, ignore_errors=True)


def _bases() -> Iterator[Path]:
    if CACHE_VARIABLE in os.environ:  # systemd: CacheDirectory=
        yield Path(os.environ[CACHE_VARIABLE])
    yield _PACKAGE / "jit" / "__pycache__"
    if "XDG_CACHE_HOME" in os.environ:
        yield Path(os.environ["XDG_CACHE_HOME"]) / "dstmrouter"
    elif "HOME" in os.environ:
        yield Path(os.environ["HOME"]) / ".cache" / "dstmrouter"


def _is_ours(path: Path) -> bool:
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError:
        return False
    return os.access(path, os.W_OK)
