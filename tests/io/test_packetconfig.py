from __future__ import annotations

from typing import Any

import pytest

from dstmrouter.errors import ConfigError
from dstmrouter.io.packetconfig import PacketMmapConfig


@pytest.mark.parametrize(
    ("wrong", "text"),
    [
        ({"block_size": 5000}, "block_size must be a power of two of at least 16384, not 5000"),
        ({"block_size": 4096}, "block_size must be a power of two of at least 16384, not 4096"),
        ({"blocks": 1}, "blocks must be at least 2, not 1"),
        ({"retire_ms": 0}, "retire_ms must be at least 1, not 0"),
        ({"tx_slots": 100}, "tx_slots must be a multiple of 16, not 100"),
        ({"tx_slots": 0}, "tx_slots must be a multiple of 16, not 0"),
        ({"fill_slots": 0}, "fill_slots must be at least 1, not 0"),
        ({"fanout_group": 65536}, "fanout_group must be 0 to 65535, not 65536"),
        ({"fanout_type": "best"}, "fanout_type must be one of hash, cpu, queue, not best"),
    ],
)
def test_a_wrong_value_is_named_with_what_was_expected(wrong: dict[str, Any], text: str) -> None:
    with pytest.raises(ConfigError) as caught:
        PacketMmapConfig(**wrong)
    assert str(caught.value) == text


def test_fanout_is_group_and_type() -> None:
    assert PacketMmapConfig().fanout is None
    assert PacketMmapConfig(fanout_group=7).fanout == 7
    assert PacketMmapConfig(fanout_group=0, fanout_type="cpu").fanout == 0x20000
