from __future__ import annotations

import pytest
from pydantic import TypeAdapter, ValidationError

from dstmrouter.config.hosts import Host, Port

HOST = TypeAdapter[str](Host)


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("dstm.Example.net", "dstm.example.net"),
        ("gw_1", "gw_1"),
        ("example.net.", "example.net."),
        ("2001:DB8::0:1", "2001:db8::1"),
        ("fe80::1%eth0", "fe80::1%eth0"),
    ],
)
def test_names_and_addresses(given: str, kept: str) -> None:
    assert HOST.validate_python(given) == kept


@pytest.mark.parametrize(
    "given",
    [
        "",
        "a b",
        "-x.net",
        "x-.net",
        "a..b",
        "192.0.2.1",
        "300.1.1.1",
        "::",
        "ff02::1",
        "::ffff:1.2.3.4",
        "x" * 64,
        ".".join(["x" * 60] * 5),
        "[2001:db8::1]",
        7,
    ],
)
def test_refused(given: object) -> None:
    with pytest.raises(ValidationError):
        HOST.validate_python(given)


def test_ports() -> None:
    port = TypeAdapter[int](Port)
    assert port.validate_python(65535) == 65535
    for wrong in (0, 65536, "80", True):
        with pytest.raises(ValidationError):
            port.validate_python(wrong)
