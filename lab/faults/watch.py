"""Looks at all tables and clients all the time, and shows them to the judge."""

from __future__ import annotations

import contextlib
import threading
from typing import TYPE_CHECKING, Final, Self

from dstmrouter.errors import ControlError
from lab.faults.network import CLIENTS, client6

if TYPE_CHECKING:
    from lab.faults.judge import Judge
    from lab.faults.machines import Machines

PERIOD_S: Final = 0.1


class Watch:
    """A thread that looks; a context manager that ends it."""

    def __init__(self, machines: Machines, judge: Judge) -> None:
        self._machines = machines
        self._judge = judge
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def _run(self) -> None:
        while not self._ended.wait(PERIOD_S):
            self.look()

    def look(self) -> None:
        """Look once."""
        tables = {}
        for name, daemon in self._machines.daemons.items():
            with contextlib.suppress(ControlError):
                tables[name] = daemon.pairs()
        held = {client6(client): self._machines.held(client) for client in CLIENTS}
        self._judge.look(tables, held)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()
