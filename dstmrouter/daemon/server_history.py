"""Answers who had which address, and forgets what is older than it may be kept."""

from __future__ import annotations

import asyncio
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TYPE_CHECKING, Any, Final, TypeVar

import structlog

from dstmrouter.daemon.params import Params, address4, bad_request, number, port_set_row, unix_time
from dstmrouter.errors import LeaseError
from dstmrouter.leases.store import StoreError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from dstmrouter.leases.history import History, Holding, Page
    from dstmrouter.zmqctl.control import Handler

T = TypeVar("T")
log = structlog.get_logger(__name__)

PAGE_LIMIT: Final = 1000  # holdings in one answer
FORGET_BATCH: Final = 1000  # holdings in one transaction: a lease waits 10 ms for it at most
FORGET_PAUSE_S: Final = 0.05
FORGET_EVERY_S: Final = 60.0
DAY_S: Final = 86_400


class HistoryControl:
    """The control methods over `history`, of which what ended `keep_days` ago is removed."""

    def __init__(self, history: History, *, keep_days: int) -> None:
        self._history = history
        self._keep_s = keep_days * DAY_S
        self._thread = ThreadPoolExecutor(1, "history")  # one, so one question at a time

    def close(self) -> None:
        """Finish the question at work and close the file; a second call does nothing."""
        self._thread.shutdown(cancel_futures=True)
        self._history.close()

    def handlers(self) -> Mapping[str, Handler]:
        """All methods by name."""
        return {
            "history.at": self.at,
            "history.lasting": self.lasting,
            "history.ended": self.ended,
        }

    async def at(self, params: Params) -> Params:
        """Who had `ipv4`, or what `port` of it is in, at Unix time `at`, or has it now."""
        ipv4 = address4(params)
        if ipv4 is None:
            raise bad_request("expected ipv4")
        at = unix_time(params, "at")
        now = time.time()
        at = now if at is None else at
        port = number(params, "port", 0, 0xFFFF)
        holders = await self._ask(partial(self._history.holders, ipv4, at, now=now, port=port))
        return {"ipv4": str(ipv4), "at": at, "holders": [_row(one) for one in holders]}

    async def lasting(self, params: Params) -> Params:
        """One page of the holdings that last, by address; `after` is from the page before."""
        after, limit = _place(params, first=-1)
        lasting = partial(self._history.lasting, after, limit, now=time.time())
        return _answer(await self._ask(lasting))

    async def ended(self, params: Params) -> Params:
        """One page of the holdings that have ended, in the order of their end."""
        after, limit = _place(params, first=0)
        return _answer(await self._ask(partial(self._history.ended, after, limit)))

    async def run(self) -> None:
        """Forget until cancelled."""
        while True:
            try:
                gone = await self.forget(time.time())
            except (
                StoreError,
                LeaseError,
            ) as error:  # a locked file, a database that is away: later
                log.warning("history not forgotten", why=str(error))
            else:
                if gone:
                    log.info("history forgotten", holdings=gone)
            await asyncio.sleep(FORGET_EVERY_S)

    async def forget(self, now: float) -> int:
        """Remove what is too old at Unix time `now`, in small transactions; return how many."""
        forget = partial(self._history.forget, now - self._keep_s, FORGET_BATCH)
        gone = batch = await self._ask(forget)
        while batch == FORGET_BATCH:
            await asyncio.sleep(FORGET_PAUSE_S)
            batch = await self._ask(forget)
            gone += batch
        return gone

    async def _ask(self, work: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._thread, work)


def _place(params: Params, *, first: int) -> tuple[int, int]:
    after = number(params, "after", -1, 1 << 62)
    limit = number(params, "limit", 1, 1 << 32)
    return first if after is None else after, min(limit or PAGE_LIMIT, PAGE_LIMIT)


def _answer(page: Page) -> Params:
    return {"holdings": [_row(one) for one in page.holdings], "after": page.after}


def _row(holding: Holding) -> dict[str, Any]:
    return {
        "ipv4": str(holding.ipv4),
        "client6": str(holding.client6),
        "identity": holding.identity,
        "lease_id": holding.lease_id,
        "since": holding.since,
        "until": holding.until,
        **port_set_row(holding.port_set),
    }
