"""Programs of other makers at the other end: GNU SASL and OpenSSL."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import shutil
import subprocess
from typing import TYPE_CHECKING

import pytest

from dstmrouter.protocols.sasl import AuthenticationError
from dstmrouter.protocols.sasl_digest import DigestServer
from dstmrouter.protocols.sasl_scram import ScramServer
from lab.netns import PATIENCE_S
from tests.daemon.certificates import Authority
from tests.daemon.server_process import DEADLINE_S
from tests.daemon.test_tsp_tls import section
from tests.daemon.tsp_lab import SERVER6, in_namespace, lending
from tests.protocols.tsp_samples import ACCEPT, PASSWORD, REALM, USER, Users, framed

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from dstmrouter.protocols.sasl import Mechanism

needs_gsasl = pytest.mark.skipif(
    shutil.which("gsasl") is None, reason="needs gsasl (tools/setup.sh installs it)"
)
MECHANISMS = ("DIGEST-MD5", "SCRAM-SHA-256")


def attempt(mechanism: str) -> Mechanism:
    if mechanism == "DIGEST-MD5":
        return DigestServer(Users(), REALM, "nonce1")
    return ScramServer(Users(), b"nonce2")


@contextlib.contextmanager
def gsasl(mechanism: str, password: str = PASSWORD) -> Iterator[subprocess.Popen[bytes]]:
    """A client that waits for our first challenge."""
    who = ["--client", "--mechanism", mechanism, "-a", USER, "-p", password]
    where = ["--service", "tsp", "--hostname", "tsp.example", "--realm", REALM]
    words = ["gsasl", *who, *where, "--quality-of-protection", "qop-auth"]
    pipe = subprocess.PIPE
    with subprocess.Popen(words, stdin=pipe, stdout=pipe, stderr=pipe) as client:
        try:
            assert client.stdout is not None
            assert client.stdout.readline() == f"{mechanism}\n".encode()
            if mechanism == "DIGEST-MD5":  # the client has nothing to say yet
                assert client.stdout.readline() == b"\n"
            yield client
        finally:
            client.kill()


def converse(client: subprocess.Popen[bytes], server: Mechanism, *, spoil: bool = False) -> str:
    """Carry messages until the server knows who it is; what the client thinks of our proof."""
    assert client.stdin is not None
    assert client.stdout is not None
    reply = server.start()
    while reply.identity is None:
        if reply.challenge is not None:
            client.stdin.write(base64.b64encode(reply.challenge) + b"\n")
            client.stdin.flush()
        reply = server.step(base64.b64decode(client.stdout.readline()))
    assert reply.identity == USER
    proof = reply.challenge or b""
    if spoil:
        proof = proof[:10] + (b"A" if proof[10:11] != b"A" else b"B") + proof[11:]
    _, said = client.communicate(base64.b64encode(proof) + b"\n\n", timeout=PATIENCE_S)
    return said.decode()


@needs_gsasl
@pytest.mark.parametrize("mechanism", MECHANISMS)
def test_gnu_sasl_and_we_convince_each_other(mechanism: str) -> None:
    with gsasl(mechanism) as client:
        assert "finished (server trusted)" in converse(client, attempt(mechanism))


@needs_gsasl
def test_gnu_sasl_does_not_believe_a_wrong_proof() -> None:
    with gsasl("SCRAM-SHA-256") as client:
        told = converse(client, attempt("SCRAM-SHA-256"), spoil=True)
    assert "trusted" not in told


@needs_gsasl
@pytest.mark.parametrize("mechanism", MECHANISMS)
def test_gnu_sasl_with_a_wrong_password_is_refused(mechanism: str) -> None:
    with gsasl(mechanism, "pencils") as client, pytest.raises(AuthenticationError, match="wrong"):
        converse(client, attempt(mechanism))


CREATE = b'<tunnel action="create"><client><address type="ipv6">::</address></client></tunnel>'


@pytest.mark.netns
def test_openssl_with_a_client_certificate_gets_a_lease(tmp_path: Path) -> None:
    async def scenario() -> None:
        files = ["-CAfile", tmp_path / "ca.pem", "-cert", tmp_path / "one.pem", "-key", key]
        checks = ["-tls1_3", "-verify_return_error", "-verify_ip", SERVER6]
        words = ["s_client", "-connect", f"[{SERVER6}]:3655", "-quiet", *checks, *files]
        async with lending(section(tmp_path, '"EXTERNAL"')) as server:
            pipe = subprocess.PIPE
            client = await asyncio.create_subprocess_exec(
                "openssl", *map(str, words), stdin=pipe, stdout=pipe, stderr=subprocess.DEVNULL
            )
            assert client.stdin is not None
            assert client.stdout is not None
            client.stdin.write(b"VERSION=2.0.0\r\nAUTHENTICATE EXTERNAL\r\n" + framed(CREATE))
            async with asyncio.timeout(DEADLINE_S):
                lines = [await client.stdout.readline() for _ in range(5)]
            assert lines[0] == b"CAPABILITY TUNNEL=V4V6 AUTH=EXTERNAL\r\n"
            assert [line[:3] for line in lines[1:4]] == [b"200", b"Con", b"200"]
            assert b'action="info"' in lines[4]
            client.stdin.write(framed(ACCEPT))
            await server.until(lambda: "ACTIVE" in server.leases().values())
            assert server.server._book.table.get(0).identity == "one"
            client.kill()
            await client.communicate()

    authority = Authority(tmp_path)
    authority.sign("server", f"IP:{SERVER6}")
    _, key = authority.sign("one")
    in_namespace(scenario)
