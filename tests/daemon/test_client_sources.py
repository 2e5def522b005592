from __future__ import annotations

import re
import ssl
from typing import TYPE_CHECKING, Any

import pytest

from dstmrouter.config.load import check_client
from dstmrouter.daemon.client_sources import Sources, client_id
from dstmrouter.daemon.rpc_source import RpcSource
from dstmrouter.errors import ConfigError
from tests.daemon.certificates import Authority

if TYPE_CHECKING:
    from pathlib import Path

    from dstmrouter.config.client import ClientConfig


def config(tmp_path: Path, **tables: Any) -> ClientConfig:
    return check_client(tmp_path, {"servers": {"hosts": ["gw"]}} | tables)


def test_every_protocol_has_a_source_in_the_wanted_order(tmp_path: Path) -> None:
    wanted = ["rpc", "tsp-udp", "tsps", "tsp", "rpc-udp"]
    servers = {"hosts": ["gw"], "protocols": wanted}
    source = Sources(config(tmp_path, servers=servers)).of("2001:db8::1")
    assert [name for name, _ in source._makers] == wanted
    for name in wanted:
        assert source._source(name) is not None


def test_a_share_of_an_address_is_asked_for_over_rpc_alone(tmp_path: Path) -> None:
    tables = {"lease": {"psid_len": 6}, "tls": {"ca_file": "/none"}}
    source = Sources(config(tmp_path, **tables)).of("2001:db8::1")
    assert [name for name, _ in source._makers] == ["rpc"]
    rpc = source._source("rpc")
    assert isinstance(rpc, RpcSource)
    assert rpc._asker.psid_len == 6


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


def test_files_of_tls(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    certificate, key = authority.sign("client")
    files = {"certificate_file": str(certificate), "key_file": str(key)}
    tables = {"tls": {"ca_file": str(authority.certificate), **files}}
    key.chmod(0o600)
    account = Sources(config(tmp_path, **tables))._account
    assert account.tls is not None
    assert account.tls.minimum_version == ssl.TLSVersion.TLSv1_3
    assert account.certificate
    key.chmod(0o644)
    with pytest.raises(ConfigError, match="mode 0644, expected 0600"):
        Sources(config(tmp_path, **tables))
    (tmp_path / "client.pem").write_text("nothing")
    key.chmod(0o600)
    with pytest.raises(ConfigError, match=re.escape(str(certificate))):
        Sources(config(tmp_path, **tables))
    without = {"servers": {"hosts": ["gw"], "protocols": ["tsp"]}}
    assert Sources(config(tmp_path, **tables | without))._account.tls is None


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
