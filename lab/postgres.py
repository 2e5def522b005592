"""A PostgreSQL of our own: own directory, a unix socket and no port, ended by its pid."""

from __future__ import annotations

import contextlib
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final, Self

import psycopg

from lab.netns import LabError

if TYPE_CHECKING:
    from collections.abc import Iterator

DEADLINE_S: Final = 30.0
SETTINGS: Final = ("listen_addresses=", "max_connections=40", "shared_buffers=16MB")


def program(name: str) -> str | None:
    """The path of a program of PostgreSQL; Debian keeps those of each version apart."""
    versions = sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{name}"))
    return str(versions[-1]) if versions else shutil.which(name)


class Postgres:
    """One cluster with one database per `database()`; `start` again after `kill`.

    Without `durable` it waits for no disk: tests kill processes, not machines. Raises LabError.
    """

    def __init__(self, home: Path, *, durable: bool = False) -> None:
        self.home = home
        self._settings = SETTINGS if durable else (*SETTINGS, "fsync=off")
        self._data = home / "data"
        self._databases = 0
        self._process: subprocess.Popen[bytes] | None = None
        # PostgreSQL refuses to run as root.
        self._user = "postgres" if os.geteuid() == 0 else pwd.getpwuid(os.geteuid()).pw_name
        if os.geteuid() == 0:
            shutil.chown(home, "postgres")
        options = ["-D", str(self._data), "-A", "trust", "-U", "dstm", "-N", "-E", "UTF8"]
        self._popen("initdb", *options, "--locale=C.UTF-8").communicate(timeout=DEADLINE_S)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()

    def start(self) -> None:
        """Start, and return when it takes connections."""
        settings = [word for setting in self._settings for word in ("-c", setting)]
        place = ["-D", str(self._data), "-k", str(self.home)]
        self._process = self._popen("postgres", *place, *settings)
        deadline = time.monotonic() + DEADLINE_S
        while True:
            try:
                psycopg.connect(self.conninfo("postgres")).close()
            except psycopg.OperationalError:
                assert self._process.poll() is None, "PostgreSQL ended"
                assert time.monotonic() < deadline, "PostgreSQL does not start"
                time.sleep(0.02)
            else:
                return

    def kill(self) -> None:
        """End it without a word to its clients (SIGQUIT: immediate shutdown)."""
        process, self._process = self._process, None
        if process is not None:
            process.send_signal(signal.SIGQUIT)
            process.wait(DEADLINE_S)

    def conninfo(self, database: str) -> str:
        """How to connect to a database as its owner."""
        return f"host={self.home} user=dstm dbname={database}"

    def database(self) -> str:
        """Make an empty database; its conninfo."""
        self._databases += 1
        name = f"test{self._databases}"
        with psycopg.connect(self.conninfo("postgres"), autocommit=True) as db:
            db.execute(f"CREATE DATABASE {name}".encode())
        return self.conninfo(name)

    def _popen(self, name: str, *arguments: str) -> subprocess.Popen[bytes]:
        found = program(name)
        if found is None:
            raise LabError("Debian package postgresql is not installed")
        return subprocess.Popen(
            [found, *arguments],
            user=self._user if os.geteuid() == 0 else None,
            group=self._user if os.geteuid() == 0 else None,
            extra_groups=[] if os.geteuid() == 0 else None,
            cwd=self.home,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )


@contextlib.contextmanager
def running(*, durable: bool = False) -> Iterator[Postgres]:
    """A cluster in a directory that goes with it; the path of its socket must be short."""
    with (
        tempfile.TemporaryDirectory(prefix="dstmpg") as home,
        Postgres(Path(home), durable=durable) as postgres,
    ):
        yield postgres
