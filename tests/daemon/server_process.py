"""A real dstm-server process over ipc, and a router that follows it, for tests."""

from __future__ import annotations

import asyncio
import contextlib
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self, TypeAlias

from dstmrouter.binding import OP_PUT, address4, address6
from dstmrouter.errors import ControlError
from dstmrouter.zmqctl import ApplyResult, AsyncControlClient, BindingUpdate, FeedFollower
from lab.netns import PATIENCE_S

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Coroutine

    from dstmrouter.zmqctl import CurveClient

Endpoints: TypeAlias = tuple[str, str]
DEADLINE_S = PATIENCE_S
PROGRAM = "from dstmrouter.cli.server import main; main()"
CONFIG = """
[server]
name = "leases1"
[lease]
{lease}
[[pool]]
name = "main"
prefix = "192.0.2.0/24"
{pool}
[tep]
tep6 = ["2001:db8:f::1"]
tep4 = "192.0.2.1"
[store]
{store}
[feed]
{sockets}
heartbeat_s = 0.2
{feed}
[control]
bind = "ipc://{home}/control"
{curve}
"""


def config_text(
    home: Path,
    *,
    lease: str = "",
    feed: str = "",
    endpoints: Endpoints | None = None,
    curve: str = "",
    postgresql: str | None = None,
    pool: str = "",
) -> str:
    """A server.toml for a server in `home`; `endpoints` are feed and feed control."""
    store = (
        f'path = "{home}/leases.sqlite"' if postgresql is None else f'postgresql = "{postgresql}"'
    )
    bind, control = endpoints or local_endpoints(home)
    sockets = f'bind = "{bind}"\ncontrol = "{control}"'
    return CONFIG.format(
        home=home, lease=lease, pool=pool, feed=feed, sockets=sockets, curve=curve, store=store
    )


def local_endpoints(home: Path) -> Endpoints:
    return f"ipc://{home}/feed", f"ipc://{home}/feed-control"


async def until(condition: Callable[[], object], what: str) -> None:
    """Wait for `condition`; fail with `what` after a deadline."""
    deadline = time.monotonic() + DEADLINE_S
    while not condition():
        assert time.monotonic() < deadline, f"not in {DEADLINE_S} s: {what}"
        await asyncio.sleep(0.01)


class ServerProcess:
    """A server in a directory of its own; `start` again after `kill` or `stop`."""

    def __init__(
        self,
        *,
        lease: str = "",
        feed: str = "",
        endpoints: Endpoints | None = None,
        curve: str = "",
        postgresql: str | None = None,
        pool: str = "192.0.2.0/24",
    ) -> None:
        # Not pytest's directory: the path of an ipc socket has 107 octets at most.
        self._directory = tempfile.TemporaryDirectory(prefix="dstm")
        self.home = Path(self._directory.name)
        self.config = self.home / "server.toml"
        self.endpoints = endpoints or local_endpoints(self.home)
        text = config_text(
            self.home,
            lease=lease,
            feed=feed,
            endpoints=endpoints,
            curve=curve,
            postgresql=postgresql,
        )
        text = text.replace("{home}", str(self.home)).replace("192.0.2.0/24", pool)
        self.config.write_text(text)
        self.process: subprocess.Popen[str] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()
        self._directory.cleanup()

    def popen(self) -> subprocess.Popen[str]:
        arguments = [sys.executable, "-c", PROGRAM, "run", "--config", str(self.config)]
        return subprocess.Popen(arguments, stderr=subprocess.PIPE, text=True)

    async def start(self) -> AsyncControlClient:
        """Start, and return a client once the server answers."""
        self.process = self.popen()
        client = self.client()
        deadline = time.monotonic() + DEADLINE_S
        while True:
            try:
                await client.call("status", timeout_s=0.5)
            except ControlError:
                assert self.process.poll() is None, self.process.communicate()[1]
                assert time.monotonic() < deadline, "the server does not answer"
            else:
                return client

    def client(self) -> AsyncControlClient:
        return AsyncControlClient(f"ipc://{self.home}/control")

    def kill(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.communicate()
            self.process = None

    def stop(self) -> tuple[int, str]:
        """End it by SIGTERM; return exit code and log."""
        assert self.process is not None
        self.process.terminate()
        log = self.process.communicate(timeout=DEADLINE_S)[1]
        code, self.process = self.process.returncode, None
        return code, log


class FollowingRouter:
    """Keeps the bindings of a server as a dict, as its feed says; `deaf` applies nothing."""

    def __init__(self, server: ServerProcess, name: str, curve: CurveClient | None = None) -> None:
        self.bindings: dict[str, str] = {}
        self.lifetimes: dict[str, int] = {}
        self.epochs: list[bytes] = []
        self.deaf = False
        self.follower = FeedFollower(
            name=name,
            source="leases1",
            feed=server.endpoints[0],
            control=server.endpoints[1],
            curve=curve,
            apply=self._apply,
        )

    @contextlib.asynccontextmanager
    async def following(self) -> AsyncIterator[Self]:
        """Follow a server that runs."""
        async with self.following_later():
            await until(lambda: self.epochs, "a first snapshot")
            yield self

    @contextlib.asynccontextmanager
    async def following_later(self) -> AsyncIterator[Self]:
        """Follow a server that may not run yet, or not all the time."""
        task = asyncio.create_task(self.follower.run())
        try:
            yield self
        finally:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task

    async def _apply(self, update: BindingUpdate) -> ApplyResult:
        while self.deaf:
            await asyncio.sleep(0.01)
        if update.replace and update.first:
            self.bindings = {}
        if update.epoch not in self.epochs:
            self.epochs.append(update.epoch)
        columns = update.columns
        psids = [f"/{psid}" if columns.psid_len.any() else "" for psid in columns.psid]
        for op, ipv4, psid, words, lifetime_s in zip(
            columns.op, columns.ipv4, psids, columns.client6, columns.lifetime_s, strict=True
        ):
            address = f"{address4(ipv4)}{psid}"
            if op == OP_PUT:
                self.bindings[address] = str(address6(words))
                self.lifetimes[address] = int(lifetime_s)
            else:
                self.bindings.pop(address, None)
        return ApplyResult(applied=len(columns), refused=0, rows=len(self.bindings))


async def state_of(client: AsyncControlClient, ipv4: str) -> str:
    """The state of an address as `leases` shows it; "free" when it does not."""
    leases: list[dict[str, Any]] = (await client.call("leases"))["leases"]
    return next((row["state"] for row in leases if row["ipv4"] == ipv4), "free")


def bounded(scenario: Coroutine[Any, Any, None]) -> None:
    asyncio.run(asyncio.wait_for(scenario, 4 * DEADLINE_S))


async def until_state(ctl: AsyncControlClient, ipv4: str, state: str) -> None:
    async with asyncio.timeout(DEADLINE_S):
        while await state_of(ctl, ipv4) != state:
            await asyncio.sleep(0.02)
