"""A gateway at work: the topology, a real `dstm-router`, and the sockets that ask and feed it."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from dstmrouter.errors import ControlError
from dstmrouter.io.owner import Owner
from dstmrouter.zmqctl import Binding, ControlClient, LeasePusher
from lab.netns import PATIENCE_S, stop, wait_until
from lab.settings import Settings
from lab.topology import CLIENT1, TEP4, TEP6, Topology
from tests.netns import echoes
from tests.netns.echoes import PLAIN

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from lab.netns import Namespace
    from tests.netns.echoes import Form

PROGRAM: Final = "import sys; from dstmrouter.cli.{0} import main; sys.argv[0] = 'dstm-{0}'; main()"
FIRST4: Final = "203.0.113.1"


def program(name: str, *arguments: str | Path) -> list[str]:
    """The command line of one of our programs, in this very Python."""
    return [sys.executable, "-c", PROGRAM.format(name), *map(str, arguments)]


def alive(pid: int) -> bool:
    """Whether a process runs; one that only waits for its parent does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


class Gateway(Owner):
    """Starts programs in a topology; a context manager that ends all of it."""

    def __init__(
        self,
        *,
        mode: str = "auto",
        workers: int = 1,
        with_server: bool = False,
        changes: dict[str, str] | None = None,
        mtu: int = 1500,
    ) -> None:
        self._undo = contextlib.ExitStack()
        # Not pytest's directory: the path of an ipc socket has 107 octets at most.
        self.directory = Path(tempfile.mkdtemp(prefix="dstm"))
        self._undo.callback(shutil.rmtree, self.directory, ignore_errors=True)
        self.settings = Settings(
            directory=self.directory, mode=mode, workers=workers, with_server=with_server
        )
        self.router_toml, self.server_toml = self.settings.write()
        for file in (self.router_toml, self.server_toml):
            text = file.read_text()
            for old, new in (changes or {}).items():
                text = text.replace(old, new)
            file.write_text(text)
        self.topology = self._undo.enter_context(Topology.build(queues=workers, mtu=mtu))
        self.log = self.directory / "log"
        self.router: subprocess.Popen[Any] | None = None
        self.server: subprocess.Popen[Any] | None = None
        self.control = self._undo.enter_context(ControlClient(self.settings.router_control))
        self.lessor = self._undo.enter_context(ControlClient(self.settings.server_control))

    # Programs ---------------------------------------------------------------------------------

    def start_router(self) -> None:
        """Start it and wait until every worker forwards."""
        self.router = self._start("router", self.router_toml)
        self.wait_until(lambda: len(self.ledgers()) == self.settings.workers, "workers")

    def start_server(self) -> None:
        """Start it and wait until it answers."""
        self.server = self._start("server", self.server_toml)
        self.wait_until(lambda: ask(self.lessor, "status"), "an answer of the server")

    def start_both(self) -> None:
        """Start server and router at the same time; both answer when this returns."""
        self.server = self._start("server", self.server_toml)
        self.start_router()
        self.wait_until(lambda: ask(self.lessor, "status"), "an answer of the server")

    def stop_router(self) -> int:
        """End it as an operator does; returns the exit code."""
        assert self.router is not None
        return stop(self.router)

    def kill(self, process: subprocess.Popen[Any] | None) -> None:
        """Kill -9; returns when the process is gone."""
        assert process is not None
        process.kill()
        process.wait()
        for client in (self.control, self.lessor):
            client.close()  # it would only notice after a while

    def run_router(self, config: Path) -> tuple[int, str]:
        """Start one that is expected to end by itself; its exit code and what it wrote."""
        command = program("router", "run", "--config", config)
        done = subprocess.run(
            ["ip", "netns", "exec", self.topology.router.name, *command],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=PATIENCE_S,
            check=False,
        )
        return done.returncode, done.stdout

    def start_client(self, space: Namespace, ipv4: str, client6: str, *options: str | Path) -> None:
        """Run a dstm-client with a static lease and wait until it is there."""
        lease = ["--static", "--client4", ipv4, "--client6", client6, "--tep6", TEP6]
        place = ["--tep4", TEP4, "--route", "default", "--backend", "tun"]
        run_dir = self.directory / f"client-{client6}"
        command = program("client", *lease, *place, "--run-dir", run_dir, *options)
        with self.log.open("ab") as log:
            space.popen(*command, stdout=log, stderr=log)
        self.wait_until(lambda: "dti0" in space.ip("-4", "route", "show", "default"), "dti0")

    def _start(self, name: str, config: Path) -> subprocess.Popen[Any]:
        with self.log.open("ab") as log:
            command = program(name, "run", "--config", config)
            return self.topology.router.popen(*command, stdout=log, stderr=log)

    def wait_until(
        self, condition: Callable[[], object], what: str, timeout_s: float = PATIENCE_S
    ) -> None:
        """Wait; a failure shows the log of all programs."""
        try:
            wait_until(condition, what, timeout_s)
        except Exception as error:
            error.add_note(self.log.read_text(errors="replace"))
            raise

    # Questions --------------------------------------------------------------------------------

    def status(self) -> dict[str, Any]:
        """What `dstmctl status` gets; empty while nobody answers."""
        return ask(self.control, "status")

    def ledgers(self) -> list[dict[str, Any]]:
        """Numbers of the frames of every worker that has told them."""
        return [worker for worker in self.status().get("workers", ()) if "missing" in worker]

    def pids(self) -> dict[int, int]:
        """Process ids of the workers."""
        return {worker["worker"]: worker["pid"] for worker in self.status().get("workers", ())}

    def verdicts(self) -> dict[str, int]:
        """Packets of every verdict."""
        return {row["name"]: row["packets"] for row in self.control.call("counters")["verdicts"]}

    def count(self, verdict: str, worker: int | None = None) -> int:
        """Packets of a verdict, of all workers or one."""
        counters = self.control.call("counters")
        lines = counters["verdicts"] if worker is None else counters["workers"][worker]
        return next(int(line["packets"]) for line in lines if line["name"] == verdict)

    def kernel_received(self) -> int:
        """IPv6 packets that came through to the router's kernel."""
        for line in self.topology.router.run("cat", "/proc/net/snmp6").splitlines():
            if line.startswith("Ip6InReceives"):
                return int(line.split()[1])
        raise AssertionError("no counter of received IPv6 packets")

    @contextlib.contextmanager
    def counting(self, verdict: str, expected: int) -> Iterator[None]:
        """Expect a counter to rise by exactly so much; a failure shows all that rose."""
        before = self.verdicts()
        try:
            yield
            assert self.verdicts()[verdict] - before[verdict] == expected
        except AssertionError as error:
            now = self.verdicts()
            error.add_note(f"{ {name: now[name] - before[name] for name in now} }")
            raise

    def bindings(self) -> dict[str, str]:
        """IPv4 address and client6 of all bindings in the router."""
        answer = self.control.call("bindings", limit=1000)
        return {row["ipv4"]: row["client6"] for row in answer["bindings"]}

    # Bindings ---------------------------------------------------------------------------------

    def bind(self, ipv4: str = FIRST4, client6: str = CLIENT1, lifetime_s: int = 600) -> None:
        """Push one binding; it is in use when this returns."""
        with self.pusher() as pusher:
            result = pusher.put([Binding(ipv4, client6, TEP6, lifetime_s=lifetime_s)])
        assert result.applied == 1, result

    def unbind(self, ipv4: str = FIRST4) -> None:
        """Remove one binding; nobody uses it any more when this returns."""
        with self.pusher() as pusher:
            assert pusher.remove([ipv4]).applied == 1

    def pusher(self) -> LeasePusher:
        """A connection that pushes."""
        return LeasePusher(self.settings.router_control, source=f"tests-{os.getpid()}")


def ask(client: ControlClient, method: str) -> dict[str, Any]:
    """The answer, or nothing while nobody answers."""
    try:
        return client.call(method, timeout_s=1)
    except ControlError:
        return {}


def pings(space: Namespace, target: str, count: int = 5, form: Form = PLAIN) -> int:
    """Send pings, 50 a second if `form` does not say else; how many were answered."""
    return echoes.answered(space, target, count, form)


def no_ping(space: Namespace, target: str, count: int = 5, form: Form = PLAIN) -> bool:
    """Whether none is answered."""
    return echoes.answered(space, target, count, form._replace(wait_s=echoes.SILENCE_S)) == 0
