"""Where compiled code is kept between starts: compiling takes seconds, loading it a tenth of one.

Numba notices a change only in the file of the function it compiled, but our kernels have numbers of
other modules in them (verdicts, layouts of rows and headers). So the directory is named after the
text of all of them, and of the versions that compiled it.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import os
from pathlib import Path
from typing import Final

import dstmrouter

_PACKAGE: Final = Path(dstmrouter.__file__).parent
_SOURCES: Final = ("io", "jit", "pipeline", "wire")
_COMPILERS: Final = ("numba", "llvmlite", "numpy")


def directory() -> Path:
    """The directory for compiled code of these sources; beside them, or in the user's cache."""
    digest = hashlib.sha256()
    for top in _SOURCES:
        for source in sorted((_PACKAGE / top).rglob("*.py")):
            digest.update(source.read_bytes())
    for name in _COMPILERS:
        digest.update(f"{name} {importlib.metadata.version(name)}".encode())
    return _base() / f"compiled-{digest.hexdigest()[:16]}"


def _base() -> Path:
    beside = Path(__file__).parent / "__pycache__"
    if os.access(beside if beside.exists() else beside.parent, os.W_OK):
        return beside
    own = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(own) / "dstmrouter"
