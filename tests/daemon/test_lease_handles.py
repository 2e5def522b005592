from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import pytest

from dstmrouter.daemon.lease_handles import KEY_LEN, LeaseHandles, load_key
from dstmrouter.errors import ConfigError
from tests.leases.lending import book_of, client, wish

if TYPE_CHECKING:
    from pathlib import Path

LEASE = book_of(10).grant(wish(1), 0.0)
HANDLES = LeaseHandles(b"k" * KEY_LEN)


def test_a_lease_keeps_its_number_and_shares_it_with_none() -> None:
    handle = HANDLES.of(LEASE)
    assert HANDLES.of(dataclasses.replace(LEASE, until=9.0)) == handle
    others = [
        dataclasses.replace(LEASE, lease_id=2),
        dataclasses.replace(LEASE, client6=client(2)),
        dataclasses.replace(LEASE, ipv4=LEASE.ipv4 + 1),
    ]
    assert [HANDLES.fits(handle, lease) for lease in [LEASE, *others]] == [True, *[False] * 3]
    assert not LeaseHandles(bytes(KEY_LEN)).fits(handle, LEASE)
    assert not HANDLES.fits(LEASE.lease_id, LEASE)


def test_the_key_is_made_once_and_for_us_alone(tmp_path: Path) -> None:
    path = tmp_path / "key"
    key = load_key(path)
    assert len(key) == KEY_LEN
    assert path.stat().st_mode & 0o777 == 0o600
    assert load_key(path) == key
    assert list(tmp_path.iterdir()) == [path]


def test_what_a_crash_left_is_replaced(tmp_path: Path) -> None:
    (tmp_path / "key.new").write_bytes(b"half")
    assert len(load_key(tmp_path / "key")) == KEY_LEN


def test_keys_that_cannot_be_used(tmp_path: Path) -> None:
    short = tmp_path / "short"
    short.write_bytes(b"123")
    with pytest.raises(ConfigError, match="short: 3 octets, expected a key of 32"):
        load_key(short)
    with pytest.raises(ConfigError, match="Is a directory"):
        load_key(tmp_path)
    with pytest.raises(ConfigError, match="missing/key: No such file"):
        load_key(tmp_path / "missing" / "key")
