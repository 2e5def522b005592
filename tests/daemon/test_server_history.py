from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any

import pytest
import structlog

from dstmrouter.daemon.server_history import FORGET_BATCH, HistoryControl
from dstmrouter.leases.history import LeaseHistory
from dstmrouter.leases.store import LeaseStore, StoreError
from dstmrouter.zmqctl import RefusedError
from tests.daemon.lending_server import lending_server
from tests.daemon.server_process import until

if TYPE_CHECKING:
    from pathlib import Path

ANN: dict[str, Any] = {"client6": "2001:db8::7", "identity": "ann"}


def test_a_lease_is_in_the_history_from_its_grant_on() -> None:
    async def scenario() -> None:
        async with lending_server() as ctl:
            before = time.time()
            lease = await ctl.call("lease.grant", **ANN)
            now = await ctl.call("history.at", ipv4=lease["ipv4"])
            assert before < now["at"] <= time.time()
            (holder,) = now["holders"]
            since = holder.pop("since")
            assert before < since <= now["at"]
            assert holder == ANN | {
                "ipv4": lease["ipv4"],
                "lease_id": lease["lease_id"],
                "until": None,
            }
            assert (await ctl.call("history.at", ipv4=lease["ipv4"], at=before))["holders"] == []
            await ctl.call("lease.hold", ipv4=lease["ipv4"])
            then = await ctl.call("history.at", ipv4=lease["ipv4"], at=since)
            assert [one["identity"] for one in then["holders"]] == ["ann"]
            assert then["holders"][0]["until"] > since
            assert (await ctl.call("history.at", ipv4=lease["ipv4"]))["holders"] == []

    asyncio.run(scenario())


def test_pages_of_what_lasts_and_of_what_has_ended() -> None:
    async def scenario() -> None:
        async with lending_server() as ctl:
            for n in range(5):
                await ctl.call("lease.grant", client6=f"2001:db8::{n + 1}")
            first = await ctl.call("history.lasting", limit=3)
            assert len(first["holdings"]) == 3
            rest = await ctl.call("history.lasting", limit=3, after=first["after"])
            assert (len(rest["holdings"]), rest["after"]) == (2, None)
            assert (await ctl.call("history.ended"))["holdings"] == []
            await ctl.call("lease.hold", ipv4="192.0.2.3")
            ended = await ctl.call("history.ended", limit=1 << 31)
            assert [one["ipv4"] for one in ended["holdings"]] == ["192.0.2.3"]
            assert ended["after"] is None

    asyncio.run(scenario())


@pytest.mark.parametrize(
    ("method", "params"),
    [
        ("history.at", {}),
        ("history.at", {"ipv4": "nobody"}),
        ("history.at", {"ipv4": "192.0.2.7", "at": "today"}),
        ("history.at", {"ipv4": "192.0.2.7", "port": 65536}),
        ("history.ended", {"after": "x"}),
        ("history.ended", {"limit": 0}),
        ("history.lasting", {"after": -2}),
    ],
)
def test_parameters_that_make_no_sense_are_refused(method: str, params: dict[str, Any]) -> None:
    async def scenario() -> None:
        async with lending_server() as ctl:
            with pytest.raises(RefusedError) as refused:
                await ctl.call(method, **params)
            assert refused.value.reason == "bad-request"

    asyncio.run(scenario())


def test_what_is_older_than_it_may_be_kept_is_forgotten_in_batches(tmp_path: Path) -> None:
    path = tmp_path / "leases.sqlite"
    store = LeaseStore(path)
    old, day_s = FORGET_BATCH + 5, 86_400
    store._db.executemany(
        "INSERT INTO history VALUES (NULL, 1, 0, 0, 0, zeroblob(16), '', ?, 0, ?)",
        [(number, day_s * 10 if number < old else day_s * 20) for number in range(old + 2)],
    )
    store.close()

    async def scenario() -> None:
        control = HistoryControl(LeaseHistory(path), keep_days=30)
        assert await control.forget(day_s * 40) == 0
        assert await control.forget(day_s * 40 + 1) == old
        kept = await control.ended({})
        assert [one["lease_id"] for one in kept["holdings"]] == [old, old + 1]
        control.close()
        control.close()

    asyncio.run(scenario())


def test_a_file_that_is_locked_is_no_reason_to_end(tmp_path: Path) -> None:
    path = tmp_path / "leases.sqlite"
    store = LeaseStore(path)

    class Locked(LeaseHistory):
        asked = 0

        def forget(self, before: float, limit: int) -> int:
            self.asked += 1
            if self.asked == 1:
                raise StoreError(f"{path}: database is locked")
            return super().forget(before, limit)

    async def scenario(monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("dstmrouter.daemon.server_history.FORGET_EVERY_S", 0.0)
        history = Locked(path)
        control = HistoryControl(history, keep_days=30)
        running = asyncio.create_task(control.run())
        await until(lambda: history.asked > 2, "another attempt")
        assert not running.done()
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        control.close()

    with structlog.testing.capture_logs() as logs, pytest.MonkeyPatch.context() as monkeypatch:
        asyncio.run(scenario(monkeypatch))
    store.close()
    assert [log["event"] for log in logs] == ["history not forgotten"]
