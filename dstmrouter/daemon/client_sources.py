"""How a configured client asks: protocols, ports, and who it is."""

from __future__ import annotations

import hashlib
import ssl
from pathlib import Path
from typing import TYPE_CHECKING, Final

from dstmrouter.config.secretfile import check_secret, read_secret
from dstmrouter.daemon.client_servers import ServerSource
from dstmrouter.daemon.rpc_source import RpcSource
from dstmrouter.daemon.tsp_account import TspAccount, TspAddress
from dstmrouter.daemon.tsp_source import TspSource
from dstmrouter.errors import ConfigError

if TYPE_CHECKING:
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
        asks_tls = "tsps" in config.servers.protocols
        self._account = TspAccount(
            user=ours.user,
            password="" if ours.password_file is None else read_secret(ours.password_file),
            tls=tls_context(config.tls) if asks_tls else None,
            certificate=config.tls.certificate_file is not None,
            plain=ours.plain,
            lifetime_unit_s=UNITS_S[config.servers.lifetime_unit],
        )
        self._client_id = client_id(config.tunnel.name)

    def of(self, server: str) -> ServerSource:
        """The source for `server`, in all protocols that are wanted."""
        servers = self._config.servers
        makers = {
            "tsp": lambda: self._tsp("tsp", server, servers.tsp_port),
            "tsp-udp": lambda: self._tsp("tsp-udp", server, servers.tsp_port),
            "tsps": lambda: self._tsp("tsps", server, servers.tsps_port),
            "rpc": lambda: self._rpc(server),
        }
        wanted = [(name, makers[name]) for name in servers.protocols]
        return ServerSource(server, wanted, timeout_s=servers.timeout_s)

    def _tsp(self, scheme: str, server: str, port: int) -> LeaseSource:
        return TspSource(TspAddress(scheme, server, port), self._account)

    def _rpc(self, server: str) -> LeaseSource:
        port, timeout_s = self._config.servers.rpc_port, self._config.servers.timeout_s
        return RpcSource(server, port=port, client_id=self._client_id, timeout_s=timeout_s)


def tls_context(config: TlsSection) -> ssl.SSLContext:
    """TLS 1.3, the server's name checked (RFC 9325); ConfigError names the file that is wrong."""
    context = ssl.create_default_context()
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    try:
        if config.ca_file is not None:
            context = ssl.create_default_context(cafile=config.ca_file)
            context.minimum_version = ssl.TLSVersion.TLSv1_3
    except (OSError, ssl.SSLError) as error:
        raise ConfigError(f"{config.ca_file}: no certificates: {_reason(error)}") from None
    if config.certificate_file is not None and config.key_file is not None:
        check_secret(config.key_file)
        try:
            context.load_cert_chain(config.certificate_file, config.key_file)
        except (OSError, ssl.SSLError) as error:
            files = f"{config.certificate_file} and {config.key_file}"
            raise ConfigError(f"{files}: no certificate and its key: {_reason(error)}") from None
    return context


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


def _reason(error: OSError) -> str:
    return error.strerror or str(error)
