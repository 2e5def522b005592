"""Configuration files for the programs in the lab's router namespace.

Server and router talk over `ipc://` sockets in one directory, so no keys are needed.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Final

from lab.topology import POOL, PORT4, PORT6, TEP4, TEP6

if TYPE_CHECKING:
    from pathlib import Path

ROUTER_NAME: Final = "lab"
FRAMES: Final = 16384  # per worker: two ports with the default rings


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What a run of the lab chooses; the rest follows from the topology."""

    directory: Path  # sockets, lease store and the files themselves
    mode: str = "auto"
    workers: int = 1
    quarantine_s: int = 1
    with_server: bool = True  # else bindings come from pushers only

    @property
    def router_control(self) -> str:
        """Where `dstmctl --router` and pushers connect."""
        return f"ipc://{self.directory}/router"

    @property
    def server_control(self) -> str:
        """Where `dstmctl --server` connects."""
        return f"ipc://{self.directory}/server"

    def write(self) -> tuple[Path, Path]:
        """Write both files; returns the paths of `router.toml` and `server.toml`."""
        router, server = self.directory / "router.toml", self.directory / "server.toml"
        router.write_text(self.router_toml())
        server.write_text(self.server_toml())
        return router, server

    def router_toml(self) -> str:
        """The text of `router.toml`."""
        ports = "".join(
            f'\n[[port]]\ninterface = "{interface}"\nmode = "{self.mode}"\n'
            for interface in (PORT6, PORT4)
        )
        feed = f"""
[[feed]]
server = "leases"
feed = "ipc://{self.directory}/feed"
control = "ipc://{self.directory}/feed-control"
"""
        return f"""\
[router]
name = "{ROUTER_NAME}"
workers = {self.workers}
control = "{self.router_control}"
run_dir = "{self.directory}"
{ports}
[umem]
frames = {FRAMES}

[tunnel]
tep6 = ["{TEP6}"]
tep4 = "{TEP4}"

[[pool]]
prefix = "{POOL}"
{feed if self.with_server else ""}"""

    def server_toml(self) -> str:
        """The text of `server.toml`."""
        return f"""\
[server]
name = "leases"

[lease]
quarantine_s = {self.quarantine_s}

[[pool]]
prefix = "{POOL}"

[tep]
tep6 = ["{TEP6}"]
tep4 = "{TEP4}"

[store]
path = "{self.directory}/leases.sqlite"

[feed]
bind = "ipc://{self.directory}/feed"
control = "ipc://{self.directory}/feed-control"
required = ["{ROUTER_NAME}"]

[control]
bind = "{self.server_control}"
"""
