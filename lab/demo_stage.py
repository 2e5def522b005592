"""The stage of the demo: hosts as namespaces, programs started and asked as a person would."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from dstmrouter.daemon.client_status import boottime, read_status
from dstmrouter.io.owner import Owner
from dstmrouter.zmqctl import ControlClient
from lab.demo_files import SERVER6, control, run_dir
from lab.demo_traces import Traces
from lab.netns import Namespace, stop, veth
from lab.topology import Topology

if TYPE_CHECKING:
    from lab.demo_screen import Screen

ROUTER_MGMT6: Final = "2001:db8:5::2"
COMMAND_S: Final = 60.0  # the longest that a command may take
ANSWER_S: Final = 2.0
LOG_LINES: Final = 12
PROGRAMS: Final = Path(sys.executable).parent  # dstmctl and the others are beside our Python


class Said(NamedTuple):
    """Exit code and output, both streams, of a command."""

    code: int
    text: str


class Stage(Owner):
    """Namespaces and daemons of the demo; a context manager that ends all of it."""

    def __init__(self, screen: Screen) -> None:
        self._screen = screen
        self._undo = contextlib.ExitStack()
        self._daemons: dict[str, tuple[Namespace, subprocess.Popen[Any]]] = {}
        self._spaces: dict[str, Namespace] = {}
        self.traces = Traces()
        self.lent: dict[str, str] = {}  # host: its IPv4 address
        with contextlib.ExitStack() as undo:
            # An ipc endpoint is a socket's path, 107 octets at most: so right below /tmp.
            self.directory = Path(tempfile.mkdtemp(prefix="dstm-demo-", dir="/tmp"))
            self.traces.paths.add(self.directory)
            undo.callback(shutil.rmtree, self.directory)
            self._environment = self._make_environment()
            self._build(undo)
            self._undo = undo.pop_all()

    def _make_environment(self) -> dict[str, str]:
        return {
            "PATH": f"{PROGRAMS}:{os.environ.get('PATH', os.defpath)}:/usr/sbin:/sbin",
            "COLUMNS": str(self._screen.width),
            "NO_COLOR": "1",
            "DSTM_ROUTER": control(self.directory, "router"),
            "DSTM_SERVER": control(self.directory, "server"),
        }

    def _build(self, undo: contextlib.ExitStack) -> None:
        topology = undo.enter_context(Topology.build())
        server = topology.lab.namespace("server")
        veth((topology.router, "mgmt"), (server, "eth0"))
        topology.router.address("mgmt", f"{ROUTER_MGMT6}/64")
        server.address("eth0", f"{SERVER6}/64")
        server.route("default", "via", ROUTER_MGMT6)
        self._spaces = {
            "client1": topology.client1,
            "client2": topology.client2,
            "access": topology.access,
            "router": topology.router,
            "host4": topology.host4,
            "server": server,
        }

    def __getitem__(self, host: str) -> Namespace:
        """The namespace of a host."""
        return self._spaces[host]

    def enter(self, host: str, *words: str | Path) -> Said:
        """Run a command on a host as if typed there; shows it and what it said."""
        command = [str(word) for word in words]
        self._screen.command(host, command)
        process = self._spaces[host].popen(
            "env", *self._settings(), *command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
        )
        try:
            output, _ = process.communicate(timeout=COMMAND_S)
        except subprocess.TimeoutExpired:
            process.kill()
            output, _ = process.communicate()
            output += f"\nno end after {COMMAND_S:g} s".encode()
        said = Said(process.returncode, output.decode(errors="replace"))
        self._screen.show(said.text)
        return said

    def ask(self, daemon: str, method: str) -> dict[str, Any]:
        """What `router` or `server` answers to a control method; ControlError if nothing."""
        with ControlClient(control(self.directory, daemon)) as client:
            return client.call(method, ANSWER_S)

    def count(self, verdict: str) -> int:
        """Packets that ended with this verdict so far."""
        verdicts = self.ask("router", "counters")["verdicts"]
        return next(int(row["packets"]) for row in verdicts if row["name"] == verdict)

    def client(self, host: str) -> dict[str, Any]:
        """What the leasing dstm-client of a host says of itself; empty while there is none."""
        return read_status(run_dir(self.directory, host), "dti0", boottime()) or {}

    def start(self, name: str, host: str, *words: str | Path) -> subprocess.Popen[Any]:
        """Start a daemon on a host; it writes to a log of that name."""
        self._screen.command(host, map(str, words), background=True)
        with self.log(name).open("ab") as log:
            process = self._spaces[host].popen(
                "env", *self._settings(), *words, stdout=log, stderr=log
            )
        self._daemons[name] = self._spaces[host], process
        return process

    def stop(self, name: str) -> int:
        """End a daemon by SIGTERM; returns its exit code, negative if it had to be killed."""
        _, process = self._daemons.pop(name)
        return stop(process)

    def kill(self, name: str) -> None:
        """End a daemon at once, as the kernel does to one that takes too much memory."""
        space, process = self._daemons.pop(name)
        host = next(host for host, known in self._spaces.items() if known is space)
        self._screen.command(host, ["kill", "-9", str(process.pid)])
        process.kill()
        process.wait()

    def log(self, name: str) -> Path:
        """The log file of a daemon."""
        return self.directory / f"{name}.log"

    def last_words(self) -> str:
        """The ends of all logs."""
        parts = []
        for path in sorted(self.directory.glob("*.log")):
            lines = path.read_text(errors="replace").splitlines()[-LOG_LINES:]
            parts.append("\n".join([f"--- {path.name}", *(lines or ["(empty)"])]))
        return "\n".join(parts)

    def note_traces(self) -> None:
        """Remember everything that runs now, to look for it in the end."""
        self.traces.note(space.name for space in self._spaces.values())

    def _settings(self) -> list[str]:
        return [f"{name}={value}" for name, value in self._environment.items()]

    def __exit__(self, *_: object) -> None:
        self.note_traces()
        self.close()
