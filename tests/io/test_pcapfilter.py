from __future__ import annotations

import pytest

from dstmrouter.errors import ConfigError
from dstmrouter.io.pcapfilter import compile_filter


def test_instructions_of_eight_octets() -> None:
    code = compile_filter("ip")  # load the ethertype, compare, return
    assert len(code) == 4 * 8
    assert code[:8] == bytes.fromhex("28000000 0c000000")


@pytest.mark.parametrize(
    ("expression", "problem"),
    [
        ("udp prot 53", r"filter 'udp prot 53': .*syntax error"),
        ("port 65536", "filter 'port 65536': .*65536"),
        ("ip or " * 1000 + "ip", "filter of 6002 characters: at most 4096"),
        ("ip\0", "filter of 3 characters"),
    ],
)
def test_what_is_wrong_is_told(expression: str, problem: str) -> None:
    with pytest.raises(ConfigError, match=problem):
        compile_filter(expression)


def test_without_libpcap() -> None:
    with pytest.raises(ConfigError, match="filters need libpcap"):
        compile_filter("ip", ["libabsent.so.0"])
