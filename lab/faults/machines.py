"""The daemons of the machines: started, killed, asked."""

from __future__ import annotations

import contextlib
import dataclasses
import shutil
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from dstmrouter.daemon.client_status import boottime, read_status
from dstmrouter.errors import ControlError
from dstmrouter.io.owner import Owner
from dstmrouter.zmqctl import ControlClient
from lab.faults import files
from lab.faults.network import CLIENTS, ROUTERS, Network
from lab.netns import LabError, wait_until

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Callable

    from lab.netns import Namespace

PROGRAMS: Final = Path(sys.executable).parent
START_S: Final = 60.0  # a second or two alone; as much as other programs leave
ANSWER_S: Final = 1.0
HEARD_S: Final = 1.0  # two of the server's heartbeats
LOG_LINES: Final = 15


@dataclasses.dataclass(slots=True)
class Daemon:
    """dstm-server or dstm-router on its machine."""

    name: str
    space: Namespace
    directory: Path
    process: subprocess.Popen[Any] | None = None
    runs: int = 0  # rises with every start and every death

    def start(self) -> None:
        """Start it; it needs some time until it answers."""
        program = "dstm-server" if self.name == "server" else "dstm-router"
        file = self.directory / f"{self.name}.toml"
        with (self.directory / f"{self.name}.log").open("ab") as log:
            words = (PROGRAMS / program, "run", "--config", file)
            self.process = self.space.popen(*words, stdout=log, stderr=log)
        self.runs += 1

    def kill(self) -> None:
        """Kill -9; returns when the process is gone."""
        assert self.process is not None
        self.runs += 1
        self.process.kill()
        self.process.wait()
        self.process = None

    def ask(self, method: str, **params: Any) -> dict[str, Any]:
        """What it answers; ControlError if nothing."""
        if self.process is None:
            raise ControlError(f"{self.name} does not run")
        with ControlClient(files.control(self.directory, self.name)) as client:
            return client.call(method, ANSWER_S, **params)

    def pairs(self) -> list[tuple[str, str]]:
        """Addresses and client6 of all bindings of a router, or of all leases of the server."""
        if self.name == "server":
            rows = self.ask("leases", limit=1000)["leases"]
            return [(row["ipv4"], row["client6"]) for row in rows if row["state"] == "active"]
        rows = self.ask("bindings", limit=1000)["bindings"]
        return [(row["ipv4"], row["client6"]) for row in rows]


class Machines(Owner):
    """The network with all daemons and clients; a context manager that ends all of it."""

    def __init__(self) -> None:
        with contextlib.ExitStack() as undo:
            # An ipc endpoint is a socket's path, 107 octets at most: so right below /tmp.
            self.directory = Path(tempfile.mkdtemp(prefix="dstm-faults-", dir="/tmp"))
            undo.callback(shutil.rmtree, self.directory, ignore_errors=True)
            files.write_all(self.directory)
            self.network = undo.enter_context(Network.build())
            self.daemons = {
                name: Daemon(name, self.network[name], self.directory)
                for name in ("server", *ROUTERS)
            }
            self._undo = undo.pop_all()

    def start(self) -> None:
        """Start everything; returns when every client has its lease."""
        for daemon in self.daemons.values():
            daemon.start()
        self.wait(self.settled, "routers that follow the server")
        for client in CLIENTS:
            self._start_client(client)
        self.wait(lambda: all(self.bound(client) for client in CLIENTS), "leases of all clients")

    def _start_client(self, client: str) -> None:
        file = self.directory / f"{client}.toml"
        file.write_text(files.client_toml(self.directory, client))
        with (self.directory / f"{client}.log").open("ab") as log:
            words = (PROGRAMS / "dstm-client", "run", "--config", file)
            self.network[client].popen(*words, stdout=log, stderr=log)

    def status(self, client: str) -> dict[str, Any]:
        """What a dstm-client says of itself; empty while there is none."""
        return read_status(self.directory / client, "dti0", boottime()) or {}

    def held(self, client: str) -> str | None:
        """The IPv4 address that a client has."""
        lease = self.status(client).get("lease")
        return str(lease["client4"]) if lease else None

    def bound(self, client: str) -> bool:
        """Whether a client has a lease and hears the other end of its tunnel."""
        return self.status(client).get("state") in {"BOUND", "RENEWING", "REBINDING"}

    def settled(self) -> bool:
        """Whether every router follows this run of the server, and has what it has published.

        Changes go on all the time: the second answer must be level with the first.
        """
        status = self.daemons["server"].ask("status")
        level = {
            router["name"]
            for router in self.daemons["server"].ask("status")["routers"]
            if router["generation"] >= status["generation"] and router["heard_s"] < HEARD_S
        }
        follow = (self._follows(router, status["epoch"]) for router in ROUTERS)
        return level == set(ROUTERS) and all(follow)

    def _follows(self, router: str, epoch: str) -> bool:
        (feed,) = self.daemons[router].ask("status")["feeds"]
        return bool(feed["phase"] == "following" and feed["epoch"] == epoch)

    def wait(self, condition: Callable[[], bool], what: str) -> None:
        """Wait for a condition; a daemon that does not answer may do so yet.

        LabError with the ends of all logs if it does not come true.
        """

        def holds() -> bool:
            with contextlib.suppress(ControlError):
                return condition()
            return False

        try:
            wait_until(holds, what, START_S)
        except LabError as error:
            raise LabError(f"{error}\n{self.last_words()}") from None

    def last_words(self) -> str:
        """The ends of all logs."""
        parts = []
        for path in sorted(self.directory.glob("*.log")):
            lines = path.read_text(errors="replace").splitlines()[-LOG_LINES:]
            parts.append("\n".join([f"--- {path.name}", *lines]))
        return "\n".join(parts)

    def renewals(self) -> int:
        """How often clients have renewed their leases, by their logs."""
        logs = (self.directory / f"{client}.log" for client in CLIENTS)
        return sum(log.read_text(errors="replace").count(" renew ") for log in logs)
