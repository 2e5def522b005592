from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from dstmrouter.daemon.lending import Lender
from dstmrouter.errors import LeaseError
from dstmrouter.leases.rate import Rate, Throttle
from dstmrouter.leases.state import State
from tests.daemon.test_server_ledger import Setting, settling
from tests.leases.lending import FIRST, wish

if TYPE_CHECKING:
    from collections.abc import Collection


def lender_of(setting: Setting, *required: str, throttle: Throttle | None = None) -> Lender:
    return Lender(
        setting.book,
        setting.ledger,
        setting.feed,
        required=required,
        ack_timeout_s=0.1,
        throttle=throttle,
    )


def test_an_offer_is_forwarded_and_becomes_a_lease_when_it_is_taken() -> None:
    async def scenario(setting: Setting) -> None:
        lender = lender_of(setting)
        offered = await lender.offer(wish(1))
        assert offered.state is State.OFFERED
        addresses, on_disk = setting.feed.published[-1]
        assert addresses == [int(offered.ipv4)]
        assert on_disk[int(offered.ipv4)] == State.OFFERED
        taken = await lender.grant(wish(1))
        assert (taken.lease_id, taken.ipv4) == (offered.lease_id, offered.ipv4)
        assert taken.state is State.ACTIVE
        renewed = await lender.renew(taken.ipv4, taken.client6, lifetime_s=1_200)
        assert renewed.until > taken.until

    settling(scenario)


@pytest.mark.parametrize("way", ["offer", "grant"])
def test_without_the_required_router_nothing_new_is_given(way: str) -> None:
    async def scenario(setting: Setting) -> None:
        lender = lender_of(setting, "gw1")
        with pytest.raises(LeaseError, match="router gw1, try again") as refused:
            await getattr(lender, way)(wish(1))
        assert refused.value.reason == "try-again"
        assert setting.book.lease_of(wish(1).client6) is None

    settling(scenario)


def test_a_lease_in_force_stays_when_a_router_does_not_answer() -> None:
    async def scenario(setting: Setting) -> None:
        lease = await lender_of(setting).grant(wish(1))
        with pytest.raises(LeaseError, match="try again"):
            await lender_of(setting, "gw1").grant(wish(1))
        assert setting.book.is_current(lease)

    settling(scenario)


def test_a_lease_that_is_taken_away_meanwhile_is_not_promised() -> None:
    async def scenario(setting: Setting) -> None:
        lender = lender_of(setting)
        wait_acked = setting.feed.wait_acked

        async def taken_away(
            generation: int, routers: Collection[str], timeout_s: float
        ) -> set[str]:
            setting.book.release(FIRST)
            return await wait_acked(generation, routers, timeout_s)

        setting.feed.wait_acked = taken_away  # type: ignore[method-assign]
        with pytest.raises(LeaseError, match="taken back meanwhile"):
            await lender.grant(wish(1))

    settling(scenario)


def test_clients_are_limited_and_operators_are_not() -> None:
    async def scenario(setting: Setting) -> None:
        # Two requests, then one in a day.
        daily = Throttle(per_64=Rate(per_s=1 / 86400, burst=2), total=Rate())
        lender = lender_of(setting, throttle=daily)
        await lender.offer(wish(1))
        taken = await lender.grant(wish(1))  # part of the offer
        await lender.renew(taken.ipv4, taken.client6, lifetime_s=None)
        for late in (
            lender.offer(wish(2)),
            lender.grant(wish(1)),
            lender.renew(taken.ipv4, taken.client6, lifetime_s=None),
        ):
            with pytest.raises(LeaseError, match="too many requests"):
                await late
        await lender.grant(wish(2), by_operator=True)
        await lender.renew(taken.ipv4, taken.client6, lifetime_s=None, by_operator=True)
        await lender.release(taken.ipv4, taken.client6)

    settling(scenario)


def test_a_move_that_no_router_acknowledges_keeps_the_lease() -> None:
    async def scenario(setting: Setting) -> None:
        lease = await lender_of(setting).grant(wish(1, identity="ann"))
        with pytest.raises(LeaseError, match="try again"):
            await lender_of(setting, "gw1").grant(wish(2, hint=0, identity="ann"))
        assert not setting.book.is_current(lease)
        moved = setting.book.lease_of(wish(2).client6)
        assert moved is not None
        assert (moved.ipv4, moved.lease_id) == (lease.ipv4, lease.lease_id)

    settling(scenario)
