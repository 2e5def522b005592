"""A gateway between two far ends over veth, and a `dstm-router` process on it.

    far6 ---------- port6 [gateway] port4 ---------- far4

Generator and sink are at the far ends. All neighbours are permanent entries: nothing but the
measured traffic is on the links. One worker has the last CPU for itself; generator, supervisor and
whatever else are on the first.
"""

from __future__ import annotations

import atexit
import contextlib
import datetime as dt
import json
import os
import subprocess
import sys
import tempfile
from ipaddress import IPv4Network, IPv6Address
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from dstmrouter.errors import ControlError
from dstmrouter.io.owner import Owner
from dstmrouter.zmqctl import ControlClient
from lab.netns import Lab, Namespace, stop, veth, wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator

POOL: Final = IPv4Network("10.0.0.0/12")  # 1,048,576 addresses
TEP6: Final = IPv6Address("2001:db8:ffff::1")
TEP4: Final = "192.0.2.1"
MACS: Final = {
    "port6": "02:00:00:00:00:06",
    "port4": "02:00:00:00:00:04",
    "far6": "02:00:00:00:01:06",
    "far4": "02:00:00:00:01:04",
}
START_S: Final = 20.0
COMPILE_S: Final = 120.0
NICE: Final = -10  # all of a measurement goes before what else runs on the machine
SESSION_NICE: Final = -20
AUTOGROUP: Final = Path("/proc/self/autogroup")
FEED: Final = """
[[feed]]
server = "leases"
feed = "ipc://{0}/feed"
control = "ipc://{0}/feed-control"
"""
# As this process was started: it pins itself later. Generator and control; the worker alone.
CONTROL_CPU, *_, WORKER_CPU = sorted(os.sched_getaffinity(0)) * 2
_BIN: Final = Path(sys.executable).parent


def program(name: str) -> tuple[str | Path, ...]:
    """Words that start one of our programs on the control CPU; workers pin themselves."""
    return "taskset", "-c", str(CONTROL_CPU), _BIN / name


def settle_in() -> None:
    """Give this process, and all that it starts, the control CPU and preference."""
    os.sched_setaffinity(0, {CONTROL_CPU})
    os.setpriority(os.PRIO_PROCESS, 0, NICE)
    # With autogroups (sched(7)), niceness counts only among the processes of a session, and the
    # weight of a session is divided among CPUs in proportion to the load of its processes there.
    with contextlib.suppress(OSError):
        former = AUTOGROUP.read_text().rpartition(" ")[2].strip()
        if former != str(SESSION_NICE):  # else another bench of this session gives it back
            AUTOGROUP.write_text(str(SESSION_NICE))
            atexit.register(AUTOGROUP.write_text, former)


class Gateway(Owner):
    """The namespaces and a directory for sockets and files; a context manager.

    `together` puts both far ends into one namespace, as the two ports of a tester.
    """

    def __init__(self, *, mtu: int = 1500, together: bool = False) -> None:
        self.mtu = mtu  # of the links, and so of the tunnels
        with contextlib.ExitStack() as undo:
            self.directory = Path(undo.enter_context(tempfile.TemporaryDirectory(prefix="perf-")))
            lab = undo.enter_context(Lab())
            self.far6, self.space = map(lab.namespace, ("far6", "gateway"))
            self.far4 = self.far6 if together else lab.namespace("far4")
            for side, far in (("6", self.far6), ("4", self.far4)):
                veth((far, f"far{side}"), (self.space, f"port{side}"), mtu=mtu)
                _set_mac(far, f"far{side}")
                _set_mac(self.space, f"port{side}")
                # Live frames pass only where the receiver polls; GRO makes it do so without XDP.
                self.space.run("ethtool", "-K", f"port{side}", "gro", "on")
            self.space.address("lo", f"{TEP6}/128", f"{TEP4}/32")
            self.restore()
            self._undo = undo.pop_all()

    def restore(self) -> None:
        """Address everything; again after a program that set the ports down."""
        space = self.space
        for port, own in (("port6", "2001:db8:6::1/64"), ("port4", "203.0.113.1/24")):
            space.ip("link", "set", "dev", port, "up", "promisc", "off")
            space.ip("address", "replace", own, "dev", port, "nodad")
        for ip, side in (("2001:db8:6::2", "6"), ("203.0.113.2", "4")):
            neighbour = (ip, "lladdr", MACS[f"far{side}"], "nud", "permanent")
            space.ip("neighbour", "replace", *neighbour, "dev", f"port{side}")
        space.ip("route", "replace", "2001:db8:1::/64", "via", "2001:db8:6::2")
        space.ip("route", "replace", "default", "via", "203.0.113.2")

    @property
    def control(self) -> str:
        """Endpoint of the router's control socket."""
        return f"ipc://{self.directory}/router"

    @contextlib.contextmanager
    def router(
        self, mode: str, *, leases: int, feed: bool = False, pool: IPv4Network = POOL
    ) -> Iterator[RouterProcess]:
        """Run `dstm-router` with ports of this mode while the block runs."""
        config = self.directory / "router.toml"
        text = self._router_toml(mode, leases, pool)
        config.write_text(text + (FEED.format(self.directory) if feed else ""))
        self.restore()
        router = RouterProcess(self.space, config, self.control)
        try:
            router.wait_ready()
            yield router
        finally:
            router.close()

    def _router_toml(self, mode: str, leases: int, pool: IPv4Network) -> str:
        ports = "".join(
            f'[[port]]\ninterface = "{port}"\nmode = "{mode}"\n' for port in ("port6", "port4")
        )
        return f"""\
[router]
name = "perf"
cpus = [{WORKER_CPU}]
control = "{self.control}"
run_dir = "{self.directory}"
log_format = "json"
{ports}
[tunnel]
tep6 = ["{TEP6}"]
tep4 = "{TEP4}"
mtu = {self.mtu}
[[pool]]
prefix = "{pool}"
[table]
leases = {leases}
"""


class Logged:
    """One of our daemons, with its log in a file of JSON lines.

    `variables` are added to its environment.
    """

    def __init__(
        self, space: Namespace, name: str, config: Path, control: str, **variables: str
    ) -> None:
        self._log = config.with_suffix(".log")
        with self._log.open("wb") as log:
            self.process: subprocess.Popen[Any] = space.popen(
                *program(name),
                "run",
                "--config",
                config,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=os.environ | variables,
            )
        self._space = space
        self.client = ControlClient(control)

    def log(self) -> list[dict[str, Any]]:
        """The log so far; lines that are no JSON become `event`."""
        lines = self._log.read_text().splitlines()
        return [json.loads(x) if x.startswith("{") else {"event": x} for x in lines]

    def logged(self, event: str) -> dict[str, Any] | None:
        """The first line of the log with this event."""
        return next((line for line in self.log() if line["event"] == event), None)

    def wait_logged(self, event: str) -> dict[str, Any]:
        """Wait for a line of the log; an error shows all of it."""
        with self.shown_if_it_fails():
            wait_until(
                lambda: self.logged(event) or self.process.poll() is not None, event, START_S
            )
            line = self.logged(event)
            assert line is not None, f"{event!r} is not logged"
        return line

    @contextlib.contextmanager
    def shown_if_it_fails(self) -> Iterator[None]:
        """Print the log if the block raises."""
        try:
            yield
        except Exception:
            print(self._log.read_text(), file=sys.stderr)
            raise

    def status(self) -> dict[str, Any]:
        """What the daemon says of itself; empty while it is not there yet."""
        try:
            return self.client.call("status", timeout_s=START_S)
        except ControlError:
            return {}

    def close(self) -> None:
        """Stop it."""
        self.client.close()
        stop(self.process)
        self._space.started.remove(self.process)


class RouterProcess(Logged):
    """A running `dstm-router`."""

    def __init__(self, space: Namespace, config: Path, control: str) -> None:
        super().__init__(space, "dstm-router", config, control)

    def wait_ready(self) -> None:
        """Return when it forwards, in compiled code."""
        self.wait_logged("forwarding")
        wait_until(self._all_compiled, "compiled code", COMPILE_S)

    def _all_compiled(self) -> bool:
        """Whether all of it is: the code from ring to ring is loaded last."""
        workers = self.status().get("workers", ())
        return bool(workers) and all(worker.get("compiled_after_s") for worker in workers)

    def worker_pid(self) -> int:
        """Process id of the only worker."""
        (worker,) = self.status()["workers"]
        return int(worker["pid"])

    def verdicts(self) -> dict[str, int]:
        """Packets by verdict, without those that did not happen."""
        verdicts = self.client.call("counters")["verdicts"]
        return {v["name"]: v["packets"] for v in verdicts if v["packets"]}


def cpu_seconds(pid: int) -> float:
    """Processor time of a process so far, user and system."""
    return sum(cpu_seconds_by_mode(pid))


def cpu_seconds_by_mode(pid: int) -> tuple[float, float]:
    """Processor time of a process so far: in its own code, and in the kernel for it."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    user, system = (int(field) / os.sysconf("SC_CLK_TCK") for field in fields[11:13])
    return user, system


def memory_octets(*pids: int) -> int:
    """Resident memory of processes; what they share is counted once."""
    total = 0
    for pid in pids:
        text = Path(f"/proc/{pid}/smaps_rollup").read_text()
        line = next(line for line in text.splitlines() if line.startswith("Pss:"))
        total += int(line.split()[1]) * 1024
    return total


def _set_mac(space: Namespace, interface: str) -> None:
    space.ip("link", "set", "dev", interface, "address", MACS[interface])


def unix_time(line: dict[str, Any]) -> float:
    """Unix time of a line of a log."""
    return dt.datetime.fromisoformat(line["timestamp"]).timestamp()
