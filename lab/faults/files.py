"""Configuration files of the machines under faults.

Everything is short, so that leases are renewed and addresses change hands while faults go on.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from dstmrouter.zmqctl import KeyPair, load_keys, write_keys
from lab.faults.network import FEED6, ROUTERS, SERVER6
from lab.topology import POOL, PORT4, PORT6, TEP4, TEP6

if TYPE_CHECKING:
    from pathlib import Path

FEED: Final = f"tcp://[{FEED6}]:5701"
FEED_CONTROL: Final = f"tcp://[{FEED6}]:5702"
LIFETIME_S: Final = 30  # of the clients' leases: renewed every 15 s
ADDRESSES: Final = 32  # few, so that they are lent again and again
TIMES: Final = """\
[lease]
min_s = 5
default_s = 60
quarantine_s = 1
offer_s = 5
grace_s = 3
"""


def control(directory: Path, machine: str) -> str:
    """The operators' endpoint of a daemon; it can be asked whatever cable is pulled."""
    return f"ipc://{directory}/{machine}.control"


def write_all(directory: Path) -> None:
    """Write keys and configuration of server and routers: `MACHINE.toml`."""
    public = {}
    for machine in ("server", *ROUTERS):
        write_keys(KeyPair.generate(), directory / f"{machine}.key")
        public[machine] = load_keys(directory / f"{machine}.key").public
    (directory / "server.toml").write_text(_server_toml(directory, public))
    for router in ROUTERS:
        text = _router_toml(directory, router, public["server"])
        (directory / f"{router}.toml").write_text(text)


def _server_toml(directory: Path, public: dict[str, str]) -> str:
    base = POOL.replace(".0/24", "")
    return f"""\
[server]
name = "leases"

{TIMES}
[[pool]]
first = "{base}.1"
last = "{base}.{ADDRESSES}"

[tep]
tep6 = ["{TEP6}"]
tep4 = "{TEP4}"

[store]
path = "{directory}/leases.sqlite"

[feed]
bind = "{FEED}"
control = "{FEED_CONTROL}"
required = {list(ROUTERS)}
ack_timeout_s = 2
heartbeat_s = 0.5

[tsp]
mechanisms = ["ANONYMOUS"]
requests_per_s = 1000
burst = 1000

[control]
bind = "{control(directory, "server")}"

[curve]
secret_key_file = "{directory}/server.key"
{_allowed(public)}"""


def _allowed(public: dict[str, str]) -> str:
    return "".join(
        f"\n[[curve.allowed]]\nname = \"{router}\"\npublic_key = '{public[router]}'\n"
        for router in ROUTERS
    )


def _router_toml(directory: Path, router: str, server_key: str) -> str:
    return f"""\
[router]
name = "{router}"
control = "{control(directory, router)}"
run_dir = "{directory}/{router}"

[[port]]
interface = "{PORT6}"

[[port]]
interface = "{PORT4}"

[tunnel]
tep6 = ["{TEP6}"]
tep4 = "{TEP4}"

[[pool]]
prefix = "{POOL}"

[[feed]]
server = "leases"
feed = "{FEED}"
control = "{FEED_CONTROL}"
server_key = '{server_key}'

[curve]
secret_key_file = "{directory}/{router}.key"
"""


def client_toml(directory: Path, client: str) -> str:
    """The text of the `client.toml` of a client."""
    return f"""\
[client]
run_dir = "{directory}/{client}"

[servers]
hosts = ["{SERVER6}"]
protocols = ["tsp"]
timeout_s = 3

[lease]
lifetime_s = {LIFETIME_S}

[keepalive]
interval_s = 1
reply_s = 1
"""
