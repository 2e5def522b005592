"""Columns of usage, read from a supervisor whose workers are not started: the test counts."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dstmrouter.binding import address4
from dstmrouter.daemon.usage_reader import UsageReader
from tests.daemon.test_router_control import asking, bind
from tests.daemon.test_usage_control import FIRST, carry

if TYPE_CHECKING:
    from pathlib import Path

    from dstmrouter.daemon.router import Supervisor
    from tests.daemon.test_router_control import Ask


def test_what_lasts_and_what_has_ended_have_the_same_accounts(tmp_path: Path) -> None:
    async def scenario(router: Supervisor, ask: Ask) -> None:
        reader = UsageReader(router.shared.tables.bindings, router.writer, router.usage)
        await bind(router, 3)
        await ask("usage.set", on=True)
        for number in (1, 2, 3):
            carry(router, number, [number, 20, 0, 0])
        lasting = reader.lasting(router.writer.bound_slots()[1:])
        assert [address4(each) for each in lasting.ipv4] == [FIRST + 1, FIRST + 2]
        assert lasting.usage.tolist() == [[2, 20, 0, 0], [3, 20, 0, 0]]
        assert (lasting.sources, lasting.until) == (("s1",), None)
        router.writer.expire(router.now_s() + 100)  # all but the first
        router.writer.reclaim()
        first, ended = reader.ended(0, 10)
        assert (first, ended.until is None) == (1, False)
        for name in ("account", "ipv4", "client6", "usage", "source"):
            assert getattr(ended, name).tolist() == getattr(lasting, name).tolist(), name
        await bind(router, 3)
        again = reader.lasting(router.writer.bound_slots())
        assert set(again.account.tolist()).isdisjoint(ended.account.tolist())
        assert reader.ended(1, 10)[1].ipv4.tolist() == ended.ipv4.tolist()[1:]

    asking(tmp_path, scenario)
