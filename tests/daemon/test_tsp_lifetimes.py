"""How long a lease is that was asked for by TSP, in minutes or in seconds."""

from __future__ import annotations

import dataclasses
import time
from typing import TYPE_CHECKING

import pytest

from tests.daemon.test_tsp_desk import ACCEPT, CREATE, Visit, at_desk, office_of

if TYPE_CHECKING:
    from tests.daemon.test_server_ledger import Setting


@pytest.mark.parametrize(
    ("lifetime_min", "lease_s", "lifetime_s", "told_s"),
    [
        (None, None, 100, None),  # the server's default
        (3, None, 180, None),
        (0, None, 60, None),  # the least that can be told in minutes
        (None, 20, 20, 20),
        (3, 20, 20, 20),
        (None, 1, 10, 10),  # the server's minimum
    ],
)
def test_lifetimes(
    lifetime_min: int | None, lease_s: int | None, lifetime_s: int, told_s: int | None
) -> None:
    wish = dataclasses.replace(CREATE, lifetime_min=lifetime_min, lease_s=lease_s)

    async def scenario(setting: Setting) -> None:
        before = time.monotonic()
        visit = Visit(office_of(setting))
        status, info = await visit.ask(wish)
        assert info is not None
        assert (status, info.lifetime_min, info.lease_s) == (200, lifetime_s // 60, told_s)
        await visit.ask(ACCEPT)
        until = setting.book.table.get(0).until
        assert before + lifetime_s <= until <= time.monotonic() + lifetime_s

    at_desk(scenario)
