from __future__ import annotations

import re
import ssl
import subprocess
from typing import TYPE_CHECKING, Any, Final

import pytest

from dstmrouter.config.client import ClientConfig, TlsSection
from dstmrouter.config.load import check_client
from dstmrouter.daemon.client_sources import Sources, client_id, tls_context
from dstmrouter.errors import ConfigError

if TYPE_CHECKING:
    from pathlib import Path


def config(tmp_path: Path, **tables: Any) -> ClientConfig:
    return check_client(tmp_path, {"servers": {"hosts": ["gw"]}} | tables)


NEW_PAIR: Final = (
    "-x509",
    *("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"),
    *("-nodes", "-subj", "/CN=client"),
)


@pytest.fixture
def pair(tmp_path: Path) -> tuple[Path, Path]:
    """A certificate that is its own authority, and its key."""
    certificate, key = tmp_path / "c.pem", tmp_path / "c.key"
    subprocess.run(["openssl", "req", *NEW_PAIR, "-keyout", key, "-out", certificate], check=True)
    key.chmod(0o600)
    return certificate, key


def test_every_protocol_has_a_source_in_the_wanted_order(tmp_path: Path) -> None:
    wanted = ["rpc", "tsp-udp", "tsps", "tsp"]
    servers = {"hosts": ["gw"], "protocols": wanted}
    source = Sources(config(tmp_path, servers=servers)).of("2001:db8::1")
    assert [name for name, _ in source._makers] == wanted
    for name in wanted:
        assert source._source(name) is not None


def test_a_password_that_others_can_read_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "password"
    file.write_text("secret\n")
    tables = {"credentials": {"user": "alice", "password_file": str(file)}}
    file.chmod(0o640)
    with pytest.raises(ConfigError, match="mode 0640, expected 0600"):
        Sources(config(tmp_path, **tables))
    file.chmod(0o600)
    sources = Sources(config(tmp_path, **tables))
    assert sources._account.password == "secret"
    assert "secret" not in repr(sources._account)


def test_tls_is_1_3_and_checks_the_server(tmp_path: Path, pair: tuple[Path, Path]) -> None:
    certificate, key = pair
    files = {"ca_file": certificate, "certificate_file": certificate, "key_file": key}
    for section in (TlsSection(), TlsSection(**files)):
        context = tls_context(section)
        assert context.minimum_version == ssl.TLSVersion.TLSv1_3
        assert (context.check_hostname, context.verify_mode) == (True, ssl.CERT_REQUIRED)
    assert len(tls_context(TlsSection(ca_file=certificate)).get_ca_certs()) == 1
    assert Sources(config(tmp_path))._account.tls is not None


@pytest.mark.parametrize("name", ["ca_file", "certificate_file", "key_file"])
def test_files_of_tls_that_cannot_be_used(
    tmp_path: Path, pair: tuple[Path, Path], name: str
) -> None:
    certificate, key = pair
    bad = tmp_path / "bad"
    bad.write_text("nothing")
    bad.chmod(0o600)
    files = {"ca_file": certificate, "certificate_file": certificate, "key_file": key}
    with pytest.raises(ConfigError, match=re.escape(str(bad))):
        tls_context(TlsSection(**{**files, name: bad}))
    key.chmod(0o644)
    with pytest.raises(ConfigError, match="mode 0644, expected 0600"):
        tls_context(TlsSection(**files))


def test_the_client_id_lasts_and_shows_nothing(tmp_path: Path) -> None:
    file = tmp_path / "machine-id"
    assert client_id("dti0", file) == b""
    file.write_text("\n")
    assert client_id("dti0", file) == b""
    file.write_text("0123456789abcdef0123456789abcdef\n")
    one = client_id("dti0", file)
    assert one == client_id("dti0", file)
    assert len(one) == 16
    assert one != client_id("dti1", file)
    assert one.hex() not in file.read_text()
