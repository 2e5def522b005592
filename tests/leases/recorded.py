"""A store in which a test writes holdings by its own clock, and their history."""

from __future__ import annotations

from typing import TYPE_CHECKING

import psycopg

from dstmrouter.leases.history import LeaseHistory
from dstmrouter.leases.lease import Lease
from dstmrouter.leases.pghistory import PostgresHistory
from dstmrouter.leases.pgschema import WRITE
from dstmrouter.leases.pgstore import PostgresStore
from dstmrouter.leases.state import State
from dstmrouter.leases.store import LeaseStore
from tests.leases.lending import FIRST, client

if TYPE_CHECKING:
    from pathlib import Path

    from dstmrouter.protocols.granted import PortSet

NOW = 1000.0
NEVER = 1e12  # when a state ends that does not end by itself


class Recorded:
    """Holdings in a lease file."""

    history: LeaseHistory | PostgresHistory

    def __init__(self, path: Path) -> None:
        self.unix = 0.0
        self.store = LeaseStore(path, wall=lambda: self.unix, monotonic=lambda: 0.0, boot=1)
        self.history = LeaseHistory(path)

    def close(self) -> None:
        self.history.close()
        self.history.close()
        self.store.close()

    def write(
        self, unix: float, place: int, number: int, state: State, ports: PortSet | None = None
    ) -> None:
        self.unix = unix
        self.store.write(
            [
                Lease(
                    lease_id=number,
                    ipv4=FIRST + place,
                    client6=client(number),
                    identity=f"user{number}",
                    state=state,
                    until=NEVER,
                    port_set=ports,
                )
            ]
        )

    def holding(self, place: int, number: int, since: float, until: float | None = None) -> None:
        self.write(since, place, number, State.ACTIVE)
        if until is not None:
            self.write(until, place, number, State.QUARANTINE)

    def names(self, place: int, at: float) -> list[str]:
        return [one.identity for one in self.history.holders(FIRST + place, at, now=NOW)]


class SharedRecorded(Recorded):
    """Holdings in PostgreSQL."""

    def __init__(self, conninfo: str) -> None:
        PostgresStore(conninfo)
        self.db = psycopg.connect(conninfo, autocommit=True)
        self.history = PostgresHistory(conninfo)

    def close(self) -> None:
        self.history.close()
        self.history.close()
        self.db.close()

    def write(
        self, unix: float, place: int, number: int, state: State, ports: PortSet | None = None
    ) -> None:
        values = {
            "share": [(int(FIRST) + place) * 65536 + (ports.psid if ports else 0)],
            "psid_offset": [ports.psid_offset if ports else 0],
            "psid_len": [ports.psid_len if ports else 0],
            "client6": [client(number).packed],
            "identity": [f"user{number}"],
            "state": [int(state)],
            "lease_id": [number],
            "until": [NEVER + unix],
            "now": unix,
            "run": 1,
            "version": 1,
            "seen": 1,
        }
        assert self.db.execute(WRITE, values).rowcount == 1
