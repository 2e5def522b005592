from __future__ import annotations

import pytest

from dstmrouter.errors import ConfigError
from dstmrouter.io.xsksetup import BindTarget, XskConfig, XskMode


@pytest.mark.parametrize("ring", ["fill_slots", "rx_slots", "tx_slots", "completion_slots"])
@pytest.mark.parametrize("slots", [0, -1, 3, 1000])
def test_ring_sizes_are_powers_of_two(ring: str, slots: int) -> None:
    with pytest.raises(ConfigError, match=f"^{ring} must be a power of two, not {slots}$"):
        XskConfig(**{ring: slots})  # type: ignore[arg-type]  # mypy takes all fields for one type


@pytest.mark.parametrize(
    ("field", "value"), [("busy_poll_us", -1), ("busy_poll_budget", 0), ("busy_poll_budget", 65536)]
)
def test_busy_polling_has_limits(field: str, value: int) -> None:
    with pytest.raises(ConfigError, match=f"^{field} must be .*, not {value}$"):
        XskConfig(**{field: value})  # type: ignore[arg-type]  # as above


def test_only_one_mode_is_zero_copy() -> None:
    assert [mode for mode in XskMode if mode.zero_copy] == [XskMode.NATIVE_ZEROCOPY]


def test_a_target_names_interface_and_queue() -> None:
    assert str(BindTarget("eth1", 7, 3)) == "eth1 queue 3"
