"""Where and with what a measurement was made, as it stands in a results file.

Nothing here names the host or its user: results are meant to be shown around.
"""

from __future__ import annotations

import dataclasses
import datetime as dt
import importlib.metadata
import os
import platform
import subprocess
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Self

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

PACKAGES: Final = ("numpy", "numba", "llvmlite", "dstmrouter")
ROOT: Final = Path(__file__).parents[1]
GIT_S: Final = 5.0
_CPU: Final = Path("/sys/devices/system/cpu/cpu0")


@dataclasses.dataclass(frozen=True, slots=True)
class Begun:
    """When a measurement began, and how busy the machine was then."""

    unix_s: float
    monotonic_s: float
    load: tuple[float, float, float]

    @classmethod
    def now(cls) -> Self:
        """It begins now."""
        return cls(time.time(), time.monotonic(), os.getloadavg())


def describe(begun: Begun, words: Sequence[str], options: Mapping[str, object]) -> dict[str, Any]:
    """Everything that a figure may depend on.

    `words` are the command, `options` what they came to, with defaults. Load averages are those of
    1, 5 and 15 minutes.
    """
    return {
        "date": dt.datetime.fromtimestamp(begun.unix_s, dt.UTC).isoformat(timespec="seconds"),
        "seconds": round(time.monotonic() - begun.monotonic_s, 1),
        "command": list(words),
        "options": {name: _plain(value) for name, value in options.items()},
        "machine": machine(),
        "kernel": f"{platform.system()} {platform.release()}",
        "versions": versions(),
        "load": {"before": _loads(begun.load), "after": _loads(os.getloadavg())},
    }


def _loads(averages: tuple[float, float, float]) -> list[float]:
    return [round(average, 2) for average in averages]


def _plain(value: object) -> object:
    return value if isinstance(value, bool | int | float | str | None) else str(value)


# The machine --------------------------------------------------------------------------------------


def machine() -> dict[str, Any]:
    """The processor and what it sees of the memory."""
    fields = cpu_fields(Path("/proc/cpuinfo").read_text())
    return {
        "cpu": fields.get("model name", platform.machine()),
        "cpus": os.cpu_count(),
        "caches": caches(_CPU / "cache"),
        "memory_mib": os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") >> 20,
        "hypervisor": "hypervisor" in fields.get("flags", "").split(),
        "huge_pages": _chosen(Path("/sys/kernel/mm/transparent_hugepage/enabled")),
    }


def cpu_fields(text: str) -> dict[str, str]:
    """The lines of the first processor in /proc/cpuinfo, by their names."""
    lines = (line.partition(":") for line in text.split("\n\n", 1)[0].splitlines())
    return {name.strip(): value.strip() for name, _, value in lines}


def caches(directory: Path) -> dict[str, str]:
    """Sizes as the kernel writes them: {"L1d": "32K", "L2": "1024K", ...}; empty if it does not."""
    found = {}
    for index in sorted(directory.glob("index*")):
        level, kind, size = (_read(index / name) for name in ("level", "type", "size"))
        found[f"L{level}{'' if kind == 'Unified' else kind[:1].lower()}"] = size
    return found


def _chosen(path: Path) -> str:
    """The word in brackets, as in "always [madvise] never"."""
    return _read(path).partition("[")[2].partition("]")[0]


def _read(path: Path) -> str:
    try:
        return path.read_text().strip()
    except OSError:  # older kernels, containers
        return ""


# Versions -----------------------------------------------------------------------------------------


def versions() -> dict[str, str]:
    """Python, what computes, and what is measured, with its git commit if it is a checkout."""
    found = {"python": platform.python_version()}
    for name in PACKAGES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            found[name] = ""
    return found | {"commit": commit(ROOT)}


def commit(root: Path) -> str:
    """The commit of a checkout, with "+" when files differ from it; empty if there is no git."""
    words = ("git", "-C", root, "describe", "--always", "--dirty=+", "--abbrev=12", "--exclude=*")
    try:
        done = subprocess.run(words, capture_output=True, text=True, timeout=GIT_S, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.strip()
