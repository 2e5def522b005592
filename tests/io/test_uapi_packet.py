"""The constants against the kernel's own header, where it is installed."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from dstmrouter.io import uapi_packet

HEADER = Path("/usr/include/linux/if_packet.h")
pytestmark = pytest.mark.skipif(not HEADER.exists(), reason="linux-libc-dev is not installed")


def defined() -> dict[str, int]:
    """`#define NAME 12` and `#define NAME (1 << 3)`; the versions are an enum."""
    text = HEADER.read_text()
    found = re.findall(r"#define\s+(\w+)\s+\(?(?:(1)U?\s*<<\s*)?(0x[0-9a-fA-F]+|\d+)\)?\s", text)
    values = {name: 1 << int(value) if one else int(value, 0) for name, one, value in found}
    versions = re.search(r"enum tpacket_versions \{([^}]*)\}", text)
    assert versions is not None
    return values | {name: i for i, name in enumerate(re.findall(r"\w+", versions[1]))}


NAMES = [
    name
    for name in vars(uapi_packet)
    if re.match(r"(PACKET|TP_STATUS)_\w+|TPACKET_(V\d|ALIGNMENT)$", name)
]


@pytest.mark.parametrize("name", NAMES)
def test_a_constant_has_the_value_of_the_kernel(name: str) -> None:
    assert getattr(uapi_packet, name) == defined()[name]


def test_the_constants_were_found() -> None:
    assert len(NAMES) >= 20
