from __future__ import annotations

import pytest

from dstmrouter.errors import DecodeError
from dstmrouter.protocols.sasl import Anonymous, AuthenticationError, External, Plain, Reply, same
from tests.protocols.tsp_samples import Users


def test_anonymous_is_nobody() -> None:
    assert Anonymous().start() == Reply(identity="")
    with pytest.raises(AuthenticationError):
        Anonymous().step(b"")


def test_external_is_whom_the_transport_knows() -> None:
    assert External("client7").start() == Reply(identity="client7")
    with pytest.raises(AuthenticationError):
        External(None).start()
    with pytest.raises(AuthenticationError):
        External("client7").step(b"root")


@pytest.mark.parametrize(
    "message",
    [b"\0ann\0pencil", b"\0\0ann\0pencil", b"ann\0ann\0pencil"],
    ids=["plain", "after a NUL of AUTHENTICATE", "for oneself"],
)
def test_plain_takes_the_right_password(message: bytes) -> None:
    assert Plain(Users()).start() == Reply()
    assert Plain(Users()).step(message) == Reply(identity="ann")


@pytest.mark.parametrize(
    "message",
    [
        b"\0ann\0pencils",
        b"\0bob\0pencil",
        b"bob\0ann\0pencil",
        b"ann\0pencil",
        b"",
        b"\0\0\0",
        b"\0ann\0\xff",
        b"\0\0\0ann\0pencil",
    ],
)
def test_plain_refuses_everything_else(message: bytes) -> None:
    with pytest.raises(DecodeError):
        Plain(Users()).step(message)


def test_secrets_are_compared_whole() -> None:
    assert same(b"abc", b"abc")
    assert not same(b"abc", b"abd")
    assert not same(b"abc", b"ab")
