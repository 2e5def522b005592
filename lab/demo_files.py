"""Configuration files of the demo: conf/*.toml, shortened to what differs from the defaults.

Server and router are hosts of their own: they talk over TCP and need keys. Operators' sockets are
`ipc://` files on the host where the daemon runs. Clients ask in one protocol each, so that all are
seen.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from lab.topology import POOL, PORT4, PORT6, TEP4, TEP6

if TYPE_CHECKING:
    from pathlib import Path

SERVER_NAME: Final = "leases1"
ROUTER_NAME: Final = "gw1"
SERVER6: Final = "2001:db8:5::1"
USER: Final = "ann"
LIFETIME_S: Final = 12  # of the lease that is renewed while somebody watches
FEED: Final = f"tcp://[{SERVER6}]:5701"
FEED_CONTROL: Final = f"tcp://[{SERVER6}]:5702"


def control(directory: Path, daemon: str) -> str:
    """The operators' endpoint of `router` or `server`."""
    return f"ipc://{directory}/{daemon}.control"


def secret_key(directory: Path, daemon: str) -> Path:
    """Where the secret key of `router` or `server` is."""
    return directory / f"{daemon}.key"


def server_toml(directory: Path, router_key: str) -> str:
    """The text of `server.toml`; `router_key` is the router's public key."""
    first, last = POOL.replace("0/24", "1"), POOL.replace("0/24", "254")
    return f"""\
[server]
name = "{SERVER_NAME}"

[lease]
min_s = 10                    # short, to see a renewal

[[pool]]                      # IPv4 addresses to lend
first = "{first}"
last = "{last}"

[tep]                         # the router's end of the tunnels
tep6 = ["{TEP6}"]
tep4 = "{TEP4}"

[store]                       # no lease is promised before it is in here
path = "{directory}/leases.sqlite"

[feed]                        # for routers
bind = "{FEED}"
control = "{FEED_CONTROL}"
required = ["{ROUTER_NAME}"]            # a lease is granted once this one forwards for it

{_client_protocols(directory)}
[control]                     # for dstmctl
bind = "{control(directory, "server")}"

[curve]                       # who may listen
secret_key_file = "{secret_key(directory, "server")}"

[[curve.allowed]]
name = "{ROUTER_NAME}"
public_key = '{router_key}'
"""


def _client_protocols(directory: Path) -> str:
    return f"""\
[tsp]                         # for clients: Tunnel Setup Protocol, RFC 5572
mechanisms = ["ANONYMOUS"]
users_file = "{directory}/users"

[tsp.tls]                     # the same inside TLS, for who has a password
certificate = "{directory}/tsp.pem"
key = "{directory}/tsp.key"

[rpc]                         # for clients: ONC RPC
rpcbind = "off"
"""


def router_toml(directory: Path, server_key: str) -> str:
    """The text of `router.toml`; `server_key` is the server's public key."""
    return f"""\
[router]
name = "{ROUTER_NAME}"
control = "{control(directory, "router")}"   # for dstmctl
run_dir = "{directory}"

[[port]]
interface = "{PORT6}"           # towards the IPv6-only network

[[port]]
interface = "{PORT4}"           # towards the IPv4 network

[tunnel]
tep6 = ["{TEP6}"]
tep4 = "{TEP4}"

[[pool]]
prefix = "{POOL}"

[[feed]]                      # where bindings come from
server = "{SERVER_NAME}"
feed = "{FEED}"
control = "{FEED_CONTROL}"
server_key = '{server_key}'

[curve]
secret_key_file = "{secret_key(directory, "router")}"
"""


def client_toml(directory: Path, host: str, protocol: str, more: str = "") -> str:
    """The text of the `client.toml` of `host`, which asks in one protocol; `more` is added."""
    return f"""\
[client]
run_dir = "{run_dir(directory, host)}"

[servers]
hosts = ["{SERVER6}"]
protocols = ["{protocol}"]

[keepalive]                   # rarely: the demo counts packets
interval_s = 300
{more}"""


def run_dir(directory: Path, host: str) -> Path:
    """Where the dstm-client of `host` keeps its state."""
    return directory / host


def short_lease() -> str:
    """The part of a `client.toml` that wishes for a short lease."""
    return f"""
[lease]
lifetime_s = {LIFETIME_S}
"""


def credentials(directory: Path) -> str:
    """The part of a `client.toml` with a user, and who may have signed the server's certificate."""
    return f"""
[credentials]
user = "{USER}"
password_file = "{directory}/password"

[tls]
ca_file = "{directory}/tsp.pem"
"""
