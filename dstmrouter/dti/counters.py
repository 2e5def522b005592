"""Counters in a mapped file: the client writes, `dstm-client status` reads while it runs.

Layout: two columns of native uint64, first packets, then octets (of the inner packet), each with
one place per `Verdict`. One aligned store per update, so a reader never sees half a number.
"""

from __future__ import annotations

import mmap
from typing import TYPE_CHECKING, Final

from dstmrouter.dti.verdict import Verdict

if TYPE_CHECKING:
    from pathlib import Path

WORD: Final = 8  # octets of a uint64
FILE_LEN: Final = 2 * len(Verdict) * WORD


class Counters:
    """Packets and octets by verdict; `path=None` keeps them in anonymous memory."""

    def __init__(self, path: Path | None = None) -> None:
        if path is None:
            self._map = mmap.mmap(-1, FILE_LEN)
        else:
            path.write_bytes(bytes(FILE_LEN))
            with path.open("r+b") as file:
                self._map = mmap.mmap(file.fileno(), FILE_LEN)
        self._words = memoryview(self._map).cast("Q")

    def count(self, verdict: Verdict, octets: int) -> None:
        """Add one packet of `octets` to `verdict`."""
        self._words[verdict] += 1
        self._words[len(Verdict) + verdict] += octets

    def snapshot(self) -> dict[str, dict[str, int]]:
        """All counters by lower-case name of the verdict."""
        return _by_name(self._words.tolist())

    def close(self) -> None:
        """Unmap; harmless when repeated."""
        self._words.release()
        self._map.close()


def read_counters(path: Path) -> dict[str, dict[str, int]]:
    """Read the counters of another process; OSError if there are none."""
    octets = path.read_bytes()
    if len(octets) != FILE_LEN:
        raise OSError(f"{path}: {len(octets)} octets, expected {FILE_LEN}")
    return _by_name(memoryview(octets).cast("Q").tolist())


def _by_name(words: list[int]) -> dict[str, dict[str, int]]:
    return {
        verdict.name.lower(): {"packets": words[verdict], "octets": words[len(Verdict) + verdict]}
        for verdict in Verdict
    }
