from __future__ import annotations

import pytest

from dstmrouter.errors import DecodeError
from dstmrouter.protocols.tsp_greeting import (
    VERSIONS,
    capability_line,
    decode_capability,
    decode_status,
    decode_version,
    version_line,
)


@pytest.mark.parametrize("version", [*VERSIONS, "1.0.1", "9"])
def test_versions_are_read_as_written(version: str) -> None:
    assert decode_version(version_line(version)) == version
    assert decode_version(b"\0version=" + version.encode() + b" ") == version


@pytest.mark.parametrize("line", [b"", b"VERSION=", b"VERSION=2.x", b"HELO", b"VERSION=2.0.0 x"])
def test_other_lines_are_no_version(line: bytes) -> None:
    with pytest.raises(DecodeError):
        decode_version(line)


def test_capabilities_are_the_specification_s() -> None:
    line = capability_line(["ANONYMOUS", "PLAIN", "DIGEST-MD5"])
    assert line == b"CAPABILITY TUNNEL=V4V6 AUTH=ANONYMOUS AUTH=PLAIN AUTH=DIGEST-MD5\r\n"
    tunnels, mechanisms = decode_capability(line)
    assert tunnels == {"V4V6"}
    assert mechanisms == {"ANONYMOUS", "PLAIN", "DIGEST-MD5"}


def test_unknown_capabilities_are_ignored() -> None:
    found = decode_capability(b"capability TUNNEL=V6V4 tunnel=v4v6 AUTH=X \xff EXTRA=1")
    assert [sorted(names) for names in found] == [["V4V6", "V6V4"], ["X"]]
    for line in (b"", b"200 Success"):
        with pytest.raises(DecodeError):
            decode_capability(line)


@pytest.mark.parametrize(
    ("line", "status"),
    [
        (b"200 Success", 200),
        (b"200", 200),
        (b"\x001302 Elsewhere\r\n", 1302),
        (b"2000000", None),
        (b"CAPABILITY", None),
        (b"", None),
        (b"cnNwYXV0aD0=", None),
    ],
)
def test_only_the_digits_of_a_status_count(line: bytes, status: int | None) -> None:
    assert decode_status(line) == status
