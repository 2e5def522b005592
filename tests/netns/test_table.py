"""Leases change as fast as they can while real processes look them up: no row is torn or stale."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import subprocess
import sys
import time
from ipaddress import IPv4Network, IPv6Address
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from dstmrouter.binding import LIFETIME_FOREVER, OP_PUT, OP_REMOVE, full_address_columns
from dstmrouter.daemon.intake import Intake
from dstmrouter.daemon.shared import SharedTables
from dstmrouter.pipeline.binding_writer import BindingWriter
from dstmrouter.zmqctl import BindingUpdate
from lab.netns import PATIENCE_S
from tests.netns.table_reader import (
    BINDINGS,
    POOL4,
    REMOVE_EVERY,
    Marks,
    address_of,
    client_of,
    hop_of,
    sizes,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from dstmrouter.binding import BindingColumns

ROOT = Path(__file__).parents[2]
READERS = 2
CHANGES = 64  # in one update
STEP = 16  # changes between two quiescent points
SPARE_ROWS = 3 * STEP  # a row that is given up is filled again a moment later
TEP6 = IPv6Address("2001:db8:f::1")
WRITE_S = 3.0


class Writer:
    """The supervisor's side: real intake and writer over the shared tables."""

    def __init__(self, psid_len: int) -> None:
        self.psid_len = psid_len
        self.shared = SharedTables.create(sizes(READERS, psid_len))
        self.fds = [self.shared.fd, os.memfd_create("marks")]
        os.ftruncate(self.fds[1], Marks.SIZE)
        self.marks = Marks(self.fds[1])
        table = self.shared.tables.bindings
        table.lay_out([IPv4Network((POOL4, 23))], None)
        writer = BindingWriter(table, self.shared.turns, [TEP6], hop_of)
        shared = BINDINGS >> psid_len if psid_len else 0
        rows = BINDINGS + shared + SPARE_ROWS
        writer.spare.take_rows(len(writer.spare.free_rows) - rows)
        self.intake = Intake(table, writer, self.shared.turns, STEP, lambda: 0)
        self.updates = 0

    def close(self) -> None:
        for fd in self.fds:
            os.close(fd)

    def changes(self, at: np.ndarray[tuple[int], np.dtype[np.int64]]) -> BindingColumns:
        """The next versions of the addresses."""
        version = self.marks.begun[at] + np.uint32(1)
        self.marks.begun[at] = version
        columns = full_address_columns(
            address_of(at, self.psid_len),
            client_of(at, version),
            lifetime_s=LIFETIME_FOREVER,
            tep6=[TEP6],
        )
        columns.psid_len[:] = self.psid_len
        columns.psid[:] = at & ((1 << self.psid_len) - 1)
        columns.op[:] = np.where(version % REMOVE_EVERY == 0, OP_REMOVE, OP_PUT)
        return columns

    async def write(self, until: float) -> None:
        random = np.random.default_rng(7)
        while time.monotonic() < until:
            at = random.choice(BINDINGS, CHANGES, replace=False)
            update = BindingUpdate(
                source="test", replace=False, columns=self.changes(at), epoch=b"", generation=0
            )
            result = await self.intake.apply(update)
            assert (result.applied, result.refused) == (CHANGES, 0), result.reasons
            self.marks.acknowledged[at] = self.marks.begun[at]
            self.updates += 1


@contextlib.contextmanager
def readers(writer: Writer) -> Iterator[list[subprocess.Popen[str]]]:
    command = [sys.executable, "-m", "tests.netns.table_reader", *map(str, writer.fds)]
    with contextlib.ExitStack() as undo:
        started = []
        for number in range(READERS):
            process = undo.enter_context(
                subprocess.Popen(
                    [*command, str(number), str(READERS), str(writer.psid_len)],
                    stdout=subprocess.PIPE,
                    text=True,
                    cwd=ROOT,
                    pass_fds=writer.fds,
                )
            )
            undo.callback(process.kill)
            started.append(process)
        for process in started:
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
        yield started


def violations(writer: Writer, seconds: float) -> dict[str, int]:
    """Write against the readers; the sums of what they report."""
    with readers(writer) as processes:
        asyncio.run(writer.write(time.monotonic() + seconds))
        found: dict[str, int] = {}
        for process in processes:
            process.terminate()
            report = json.loads(process.communicate(timeout=PATIENCE_S)[0])
            for name, count in report.items():
                found[name] = found.get(name, 0) + count
    return found


@pytest.mark.parametrize("psid_len", [0, 1, 3])
def test_no_row_is_torn_or_stale(psid_len: int) -> None:
    with contextlib.closing(Writer(psid_len)) as writer:
        found = violations(writer, WRITE_S)
    assert writer.updates > 20
    assert found.pop("looked_up") > 100_000
    assert set(found.values()) == {0}, found


@pytest.mark.parametrize("psid_len", [0, 1])
def test_without_quiescent_points_the_readers_complain(
    monkeypatch: pytest.MonkeyPatch, psid_len: int
) -> None:
    """The test above can fail: rows are reused, and changes acknowledged, without waiting."""
    with contextlib.closing(Writer(psid_len)) as writer:
        monkeypatch.setattr(writer.shared.turns, "passed", lambda _: True)
        found = violations(writer, WRITE_S)
    assert found["of another"] > 0
    assert found["stale"] > 0
