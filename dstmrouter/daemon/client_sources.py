"""How a configured client asks: protocols, ports, and who it is."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal

from dstmrouter.config.secretfile import check_secret, read_secret
from dstmrouter.daemon.client_servers import ServerSource
from dstmrouter.daemon.rpc_source import Asker, RpcSource
from dstmrouter.daemon.tsp_account import TspAccount, TspAddress
from dstmrouter.daemon.tsp_source import TspSource
from dstmrouter.daemon.tsp_tls import client_context

if TYPE_CHECKING:
    import ssl

    from dstmrouter.config.client import ClientConfig, TlsSection
    from dstmrouter.daemon.lease_source import LeaseSource

MACHINE_ID: Final = Path("/etc/machine-id")
CLIENT_ID_LEN: Final = 16  # octets
UNITS_S: Final = {"minutes": 60, "seconds": 1}


class Sources:
    """Makes the lease source of any server; ConfigError if a file of ours cannot be used."""

    def __init__(self, config: ClientConfig) -> None:
        self._config = config
        ours = config.credentials
        asks_tls = "tsps" in config.protocols
        self._account = TspAccount(
            user=ours.user,
            password="" if ours.password_file is None else read_secret(ours.password_file),
            tls=_tls_context(config.tls) if asks_tls else None,
            certificate=config.tls.certificate_file is not None,
            plain=ours.plain,
            lifetime_unit_s=UNITS_S[config.servers.lifetime_unit],
        )
        self._asker = Asker(client_id=client_id(config.tunnel.name), psid_len=config.lease.psid_len)

    def of(self, server: str) -> ServerSource:
        """The source for `server`, in all protocols that are wanted."""
        servers = self._config.servers
        makers = {
            "tsp": lambda: self._tsp("tsp", server, servers.tsp_port),
            "tsp-udp": lambda: self._tsp("tsp-udp", server, servers.tsp_port),
            "tsps": lambda: self._tsp("tsps", server, servers.tsps_port),
            "rpc": lambda: self._rpc("tcp", server),
            "rpc-udp": lambda: self._rpc("udp", server),
        }
        wanted = [(name, makers[name]) for name in self._config.protocols]
        return ServerSource(server, wanted, timeout_s=servers.timeout_s)

    def _tsp(self, scheme: str, server: str, port: int) -> LeaseSource:
        return TspSource(TspAddress(scheme, server, port), self._account)

    def _rpc(self, transport: Literal["tcp", "udp"], server: str) -> LeaseSource:
        servers = self._config.servers
        return RpcSource(
            server,
            port=servers.rpc_port or None,
            transport=transport,
            asker=self._asker,
            timeout_s=servers.timeout_s,
        )


def _tls_context(config: TlsSection) -> ssl.SSLContext:
    if config.key_file is not None:
        check_secret(config.key_file)
    return client_context(
        ca=config.ca_file, certificate=config.certificate_file, key=config.key_file
    )


def client_id(name: str, machine_id: Path = MACHINE_ID) -> bytes:
    """What tells this host's interface `name` from other clients, today and after a restart.

    Made from the machine ID, which must not be shown as it is (machine-id(5)); empty if the host
    has none, and then client6 alone tells.
    """
    try:
        secret = machine_id.read_bytes().strip()
    except OSError:
        return b""
    if not secret:
        return b""
    return hashlib.blake2s(
        name.encode(), key=secret[:32], digest_size=CLIENT_ID_LEN, person=b"dstm"
    ).digest()
