"""Usage by binding, asked of a supervisor whose workers are not started: the test counts."""

from __future__ import annotations

from ipaddress import IPv4Address
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import pytest

from dstmrouter.binding import USAGE_FIELDS, address4, full_address_columns, words6
from dstmrouter.errors import DstmError
from dstmrouter.zmqctl import BindingUpdate
from dstmrouter.zmqctl.usage_columns import unpack_usage
from tests.daemon.test_router_control import asking, bind

if TYPE_CHECKING:
    from pathlib import Path

    from dstmrouter.daemon.router import Supervisor
    from tests.daemon.test_router_control import Ask

FIRST: Final = IPv4Address("203.0.113.1")


def carry(router: Supervisor, number: int, counts: list[int], worker: int = 0) -> None:
    """A worker counts for the binding of address `number` of the pool."""
    tables = router.shared.tables
    address = np.array([int(FIRST) - 1 + number], np.uint32)
    row = tables.bindings.slots[tables.bindings.slot_of(address)]
    tables.usage.values[worker, row] += np.array(counts, np.uint64)


def addresses(answer: dict[str, Any]) -> list[str]:
    return [str(address4(each)) for each in unpack_usage(answer["bindings"]).ipv4]


def test_counting_is_switched_while_the_router_runs(tmp_path: Path) -> None:
    async def scenario(router: Supervisor, ask: Ask) -> None:
        assert await ask("usage") == {
            "on": False,
            "since": None,
            "ended": 0,
            "feed": None,
            "epoch": router.epoch,
            "generation": 0,
        }
        assert not (await ask("status"))["counts_usage"]
        told = await ask("usage.set", on=True)
        assert told["on"]
        assert router.shared.tables.usage.on
        assert (await ask("status"))["counts_usage"]
        off = await ask("usage.set", on=False)
        assert off == told | {"on": False}
        assert not router.shared.tables.usage.on

    asking(tmp_path, scenario)


def test_counting_may_be_on_from_the_start(tmp_path: Path) -> None:
    async def scenario(_: Supervisor, ask: Ask) -> None:
        assert (await ask("usage"))["on"]

    asking(tmp_path, scenario, "\n[worker]\nusage = true\n")


def test_bindings_are_shown_with_sums_over_workers(tmp_path: Path) -> None:
    async def scenario(router: Supervisor, ask: Ask) -> None:
        await bind(router, 3)
        await ask("usage.set", on=True)
        carry(router, 2, [1, 20, 3, 400])
        carry(router, 2, [10, 200, 30, 4000], worker=1)
        shown = (await ask("bindings", usage=True, offset=1, limit=2))["bindings"]
        assert [[row[name] for name in USAGE_FIELDS] for row in shown] == [
            [11, 220, 33, 4400],
            [0, 0, 0, 0],
        ]
        assert "packets_to_client" not in (await ask("bindings"))["bindings"][0]

    asking(tmp_path, scenario)


def test_columns_of_all_bindings_page_by_page(tmp_path: Path) -> None:
    async def scenario(router: Supervisor, ask: Ask) -> None:
        await bind(router, 5)
        await ask("usage.set", on=True)
        for number in range(1, 6):
            carry(router, number, [number, 0, 0, 0])
        page = await ask("usage.bindings", limit=3)
        assert addresses(page) == [str(FIRST + n) for n in range(3)]
        columns = unpack_usage(page["bindings"])
        assert columns.usage[:, 0].tolist() == [1, 2, 3]
        assert [columns.sources[n] for n in columns.source] == ["s1"] * 3
        rest = await ask("usage.bindings", after=page["after"])
        assert addresses(rest) == [str(FIRST + n) for n in (3, 4)]
        assert rest["after"] is None
        assert rest["ended"] == 0

    asking(tmp_path, scenario)


def test_port_sets_have_columns_of_their_own(tmp_path: Path) -> None:
    async def scenario(router: Supervisor, ask: Ask) -> None:
        columns = full_address_columns(
            np.array([int(FIRST)] * 2, np.uint32),
            words6([router.config.tunnel.tep6[0] + n for n in (1, 2)]),
            lifetime_s=60,
            tep6=router.config.tunnel.tep6,
        )
        columns.psid_offset[:], columns.psid_len[:], columns.psid[:] = 6, 8, [0x34, 0xFF]
        update = BindingUpdate(source="s", replace=False, columns=columns, epoch=b"", generation=1)
        assert (await router.intake.apply(update)).applied == 2
        told = unpack_usage((await ask("usage.bindings"))["bindings"])
        assert told.psid.tolist() == [0x34, 0xFF]
        assert told.client6.tolist() == columns.client6.tolist()

    asking(tmp_path, scenario)


def test_what_has_ended_is_listed_by_number(tmp_path: Path) -> None:
    async def scenario(router: Supervisor, ask: Ask) -> None:
        await bind(router, 3)
        await ask("usage.set", on=True)
        for number in (2, 3):
            carry(router, number, [number, 0, 0, 0])
        router.writer.expire(router.now_s() + 100)
        assert (await ask("usage"))["ended"] == 0, "workers could still count"
        router.writer.reclaim()
        page = await ask("usage.ended", limit=1)
        columns = unpack_usage(page.pop("bindings"))
        assert page.pop("epoch") == router.epoch
        assert page == {"after": 1, "more": True, "lost": 0, "generation": 0}
        assert columns.usage[:, 0].tolist() == [2]
        assert columns.sources == ("s1",)
        assert columns.until is not None
        rest = await ask("usage.ended", after=1)
        assert addresses(rest) == [str(FIRST + 2)]
        assert (rest["after"], rest["more"], rest["lost"]) == (2, False, 0)
        again = await ask("usage.ended", after=rest["after"])
        assert (again["after"], addresses(again)) == (2, [])
        assert (await ask("usage.bindings"))["ended"] == 2

    asking(tmp_path, scenario)


def test_who_asks_after_numbers_of_a_former_run_begins_anew(tmp_path: Path) -> None:
    async def scenario(_: Supervisor, ask: Ask) -> None:
        answer = await ask("usage.ended", after=7)
        assert (answer["after"], answer["more"], answer["lost"]) == (0, False, 0)

    asking(tmp_path, scenario)


@pytest.mark.parametrize(
    ("method", "params", "problem"),
    [
        ("usage.set", {}, "on None: expected true or false"),
        ("usage.set", {"on": 1}, "on 1: expected true or false"),
        ("usage.bindings", {"limit": 16385}, "limit 16385: expected an integer from 1 to 16384"),
        ("usage.bindings", {"after": -1}, "after -1: expected"),
        ("usage.ended", {"after": "x"}, "after 'x': expected"),
        ("bindings", {"usage": 1}, "usage 1: expected true or false"),
    ],
)
def test_wrong_questions_are_refused(
    tmp_path: Path, method: str, params: dict[str, object], problem: str
) -> None:
    async def scenario(_: Supervisor, ask: Ask) -> None:
        with pytest.raises(DstmError) as caught:
            await ask(method, **params)
        assert problem in str(caught.value)

    asking(tmp_path, scenario)
