from __future__ import annotations

import asyncio
import ssl
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from dstmrouter.config.tsp import TspTlsSection
from dstmrouter.daemon.lease_source import SourceError
from dstmrouter.daemon.tsp_account import TspAccount
from dstmrouter.daemon.tsp_tls import TlsServer, client_context
from dstmrouter.errors import ConfigError
from tests.daemon.certificates import Authority
from tests.daemon.tsp_lab import (
    CLIENT6,
    EVERYTHING,
    OTHER6,
    SERVER6,
    in_namespace,
    lending,
    source,
)
from tests.protocols.tsp_samples import PASSWORD, USER

if TYPE_CHECKING:
    from dstmrouter.daemon.tsp_source import TspSource

TSPS = f"tsps://[{SERVER6}]"
PASSWORDS = '"SCRAM-SHA-256", "DIGEST-MD5", "PLAIN"'


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    """One that signed a server at SERVER6."""
    made = Authority(tmp_path)
    made.sign("server", f"IP:{SERVER6}")
    return made


def section(home: Path, mechanisms: str, *, client_ca: bool = True) -> str:
    """`[tsp.tls]` after a `[tsp]` that has TLS alone."""
    files = f'certificate = "{home}/server.pem"\nkey = "{home}/server.key"\n'
    files += f'client_ca = "{home}/ca.pem"\n' if client_ca else ""
    plain = EVERYTHING + "tcp = false\nudp = false\n"
    return f"{plain}[tsp.tls]\n{files}mechanisms = [{mechanisms}]\n"


def certified(home: Path, name: str) -> TspAccount:
    files = {"certificate": home / f"{name}.pem", "key": home / f"{name}.key"}
    return TspAccount(tls=client_context(ca=home / "ca.pem", **files), certificate=True)


async def lease_of(client: TspSource) -> str:
    return str((await client.obtain(CLIENT6, hint4=None, lifetime_s=None)).client4)


async def refusal(account: TspAccount, server: str = TSPS) -> str:
    async with source(server, account) as client:
        with pytest.raises(SourceError) as refused:
            await lease_of(client)
    return str(refused.value)


@pytest.mark.netns
@pytest.mark.parametrize("mechanism", PASSWORDS.replace('"', "").split(", "))
def test_passwords_inside_tls(authority: Authority, tmp_path: Path, mechanism: str) -> None:
    async def scenario() -> None:
        account = TspAccount(
            user=USER, password=PASSWORD, tls=client_context(ca=authority.certificate)
        )
        async with lending(section(tmp_path, f'"{mechanism}"')) as server:
            async with source(TSPS, account) as client:
                ipv4 = await lease_of(client)
                await server.until(lambda: server.leases() == {ipv4: "ACTIVE"})
            slot = server.server._book.table.get(0)
            assert (slot.identity, slot.client6) == (USER, CLIENT6)

    in_namespace(scenario)


@pytest.mark.netns
def test_a_certificate_says_who_has_the_lease(authority: Authority, tmp_path: Path) -> None:
    async def scenario() -> None:
        async with lending(section(tmp_path, '"EXTERNAL"')) as server:
            async with source(TSPS, certified(tmp_path, "one")) as client:
                ipv4 = await lease_of(client)
                await server.until(lambda: server.leases() == {ipv4: "ACTIVE"})
            assert server.server._book.table.get(0).identity == "one.example"
            assert "506" in await refusal(certified(tmp_path, "two"))
            nobody = TspAccount(tls=client_context(ca=authority.certificate), certificate=True)
            assert "tsps://" in await refusal(nobody)
            assert "tsps://" in await refusal(certified(tmp_path, "stranger"))
            await server.until(
                lambda: server.counted("connections-without-tls") + server.counted("malformed")
            )

    authority.sign("one", "DNS:one.example,email:ann@one.example")
    authority.sign("two")
    Authority(tmp_path, "other").sign("stranger")
    in_namespace(scenario)


@pytest.mark.netns
def test_without_a_certificate_external_is_not_offered(
    authority: Authority, tmp_path: Path
) -> None:
    async def scenario() -> None:
        async with lending(section(tmp_path, f'"EXTERNAL", {PASSWORDS}')):
            context = client_context(ca=authority.certificate)
            refused = await refusal(TspAccount(tls=context, certificate=True))
            assert "offers DIGEST-MD5, PLAIN, SCRAM-SHA-256, none of which" in refused

    in_namespace(scenario)


@pytest.mark.netns
def test_a_server_must_be_who_it_should(authority: Authority, tmp_path: Path) -> None:
    async def scenario() -> None:
        async with lending(section(tmp_path, PASSWORDS)) as server:
            stranger = Authority(tmp_path, "other")
            for ca, where in (
                (stranger.certificate, TSPS),
                (authority.certificate, TSPS.replace(SERVER6, "::ffff:1")),
                (None, TSPS),
            ):
                context = client_context(ca=ca)
                account = TspAccount(user=USER, password=PASSWORD, tls=context)
                assert "tsps://" in await refusal(account, where)
            assert server.leases() == {}

    in_namespace(scenario)


@pytest.mark.netns
def test_other_versions_of_tls_and_no_tls_are_refused(authority: Authority, tmp_path: Path) -> None:
    async def scenario() -> None:
        async with lending(section(tmp_path, PASSWORDS)) as server:
            context = client_context(ca=authority.certificate)
            context.minimum_version = ssl.TLSVersion.TLSv1_2
            context.maximum_version = ssl.TLSVersion.TLSv1_2
            with pytest.raises((ssl.SSLError, ConnectionResetError)):
                await asyncio.open_connection(SERVER6, 3655, ssl=context)
            reader, writer = await asyncio.open_connection(SERVER6, 3655)
            writer.write(b"VERSION=2.0.0\r\n")
            assert b"CAPABILITY" not in await reader.read()
            writer.close()
            await server.until(lambda: server.counted("connections-without-tls") == 2)
            assert server.server._describe()["tsp_sessions"] == 0

    in_namespace(scenario)


@pytest.mark.netns
def test_new_certificates_and_users_leave_sessions_alone(
    authority: Authority, tmp_path: Path
) -> None:
    async def scenario() -> None:
        async with lending(section(tmp_path, PASSWORDS)) as server:
            context = client_context(ca=authority.certificate)
            account = TspAccount(user=USER, password=PASSWORD, tls=context)
            async with source(TSPS, account) as client:
                ipv4 = await lease_of(client)
                Authority(tmp_path, "new").sign("server", f"IP:{SERVER6}")
                server.server.reload()
                assert await lease_of(client) == ipv4  # over the old connection
                assert server.counted("connections") == 1
                assert "tsps://" in await refusal(account)
                (tmp_path / "server.pem").write_text("nonsense")
                server.server.reload()  # and the good one stays
                renewed = TspAccount(
                    user=USER, password=PASSWORD, tls=client_context(ca=tmp_path / "new.pem")
                )
                async with source(TSPS, renewed) as other:
                    await other.obtain(OTHER6, hint4=None, lifetime_s=None)

    in_namespace(scenario)


def test_files_that_cannot_be_used(authority: Authority, tmp_path: Path) -> None:
    good = {"certificate": tmp_path / "server.pem", "key": tmp_path / "server.key"}
    text = tmp_path / "text"
    text.write_text("nonsense")
    for change, problem in (
        ({"certificate": tmp_path / "none"}, "none: No such file"),
        ({"certificate": text}, "text: .*expected a certificate chain in PEM"),
        ({"key": authority.certificate}, "server.pem: .*its key in .*ca.pem without passphrase"),
        ({"client_ca": text}, "text: .*expected certificates in PEM"),
    ):
        with pytest.raises(ConfigError, match=problem):
            TlsServer(TspTlsSection(**{**good, **change}))  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="No such file"):
        client_context(ca=Path("/none"))
    assert TlsServer(TspTlsSection(**good)).context().num_tickets == 0  # type: ignore[arg-type]
