from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address
from typing import TYPE_CHECKING

import pytest

from dstmrouter.binding import LIFETIME_FOREVER
from dstmrouter.errors import ControlError, DstmError
from dstmrouter.zmqctl import Binding, LeasePusher, RefusedError
from dstmrouter.zmqctl.columns import ROWS_MAX
from tests.zmqctl.samples import FIRST4, Table, puts
from tests.zmqctl.sockets import Keys, control_in_thread

if TYPE_CHECKING:
    from pathlib import Path

CLIENT, TEP, TEP_2 = "2001:db8::7", "2001:db8:f::1", "2001:db8:f::2"


def test_bindings_of_people_reach_the_router_as_columns(tmp_path: Path) -> None:
    table = Table()
    with (
        control_in_thread(f"ipc://{tmp_path}/c", on_push=table.apply) as server,
        LeasePusher(server.endpoint, source="radius") as pusher,
    ):
        result = pusher.put(
            [
                Binding("198.18.0.1", CLIENT, TEP, lifetime_s=60),
                Binding(IPv4Address("198.18.0.2"), IPv6Address(CLIENT), IPv6Address(TEP_2)),
                Binding("198.18.0.3", CLIENT, TEP),
            ]
        )
    assert (result.applied, result.refused, result.rows) == (3, 0, 3)
    (update,) = table.updates
    assert update.source == "radius"
    assert update.columns.tep6 == (IPv6Address(TEP), IPv6Address(TEP_2))
    assert update.columns.tep.tolist() == [0, 1, 0]
    assert update.columns.lifetime_s.tolist() == [60, LIFETIME_FOREVER, LIFETIME_FOREVER]
    assert update.columns.client6.tobytes() == IPv6Address(CLIENT).packed * 3


def test_remove_and_replace(tmp_path: Path) -> None:
    table = Table()
    with (
        control_in_thread(f"ipc://{tmp_path}/c", on_push=table.apply) as server,
        LeasePusher(server.endpoint, source="radius") as pusher,
    ):
        pusher.put(puts(0, 5))
        assert pusher.remove(["198.18.0.1", IPv4Address(FIRST4 + 2)]).rows == 3
        assert set(table.clients()) == {0, 3, 4}
        assert pusher.replace_all(puts(4, 6)).rows == 2
        assert set(table.clients()) == {4, 5}
        assert pusher.replace_all([]).rows == 0


def test_port_sets_have_their_psid_when_put_and_when_removed(tmp_path: Path) -> None:
    half = Binding("198.18.0.1", CLIENT, TEP, psid_offset=6, psid_len=1, psid=1)
    table = Table()
    with (
        control_in_thread(f"ipc://{tmp_path}/c", on_push=table.apply) as server,
        LeasePusher(server.endpoint, source="radius") as pusher,
    ):
        pusher.put([half, Binding("198.18.0.2", CLIENT, TEP)])
        pusher.remove([half, "198.18.0.2"])
    for update in table.updates:
        columns = update.columns
        assert columns.psid_offset.tolist() == [6, 0]
        assert columns.psid_len.tolist() == [1, 0]
        assert columns.psid.tolist() == [1, 0]


def test_large_sets_go_in_parts_and_results_add_up(tmp_path: Path) -> None:
    table = Table()
    table.rows[FIRST4] = ("other", 1, 1)
    table.rows[FIRST4 + ROWS_MAX] = ("other", 1, 1)
    with (
        control_in_thread(f"ipc://{tmp_path}/c", on_push=table.apply) as server,
        LeasePusher(server.endpoint, source="radius") as pusher,
    ):
        result = pusher.replace_all(puts(0, ROWS_MAX + 10))
    assert [(u.first, u.last) for u in table.updates] == [(True, False), (False, True)]
    assert (result.applied, result.refused) == (ROWS_MAX + 8, 2)
    assert result.reasons == {"owned-by-other": 2}


def test_over_tcp_the_key_must_be_that_of_the_source() -> None:
    keys = Keys("radius")
    table = Table()
    with control_in_thread(
        "tcp://127.0.0.1:*", curve=keys.of_server(), on_push=table.apply
    ) as server:
        with LeasePusher(server.endpoint, source="radius", curve=keys.of("radius")) as pusher:
            assert pusher.put(puts(0, 1)).applied == 1
        with (
            LeasePusher(server.endpoint, source="other", curve=keys.of("radius")) as pusher,
            pytest.raises(RefusedError, match="does not speak for source other") as caught,
        ):
            pusher.put(puts(0, 1))
        assert caught.value.reason == "not-yours"


def test_router_that_is_away_is_an_error(tmp_path: Path) -> None:
    with (
        LeasePusher(f"ipc://{tmp_path}/c", source="radius", timeout_s=0.05) as pusher,
        pytest.raises(ControlError, match="no answer in time"),
    ):
        pusher.put(puts(0, 1))


@pytest.mark.parametrize(
    ("binding", "text"),
    [
        (Binding("198.18.0.256", CLIENT, TEP), "expected an IPv4 address"),
        (Binding("198.18.0.1", "198.18.0.1", TEP), "expected an IPv6 address"),
        (Binding("198.18.0.1", CLIENT, TEP, lifetime_s=-1), "lifetime of -1 s"),
        (Binding("198.18.0.1", CLIENT, TEP, lifetime_s=2**32 - 1), "lifetime of"),
        (Binding("198.18.0.1", CLIENT, TEP, psid=1), "psid 1 with psid_offset 0 and psid_len 0"),
        (Binding("198.18.0.1", CLIENT, TEP, psid_offset=9, psid_len=8), "psid_offset 9 and"),
        (Binding("198.18.0.1", CLIENT, TEP, psid_len=4, psid=-1), "psid -1 with"),
    ],
)
def test_bad_bindings_are_explained(tmp_path: Path, binding: Binding, text: str) -> None:
    with (
        LeasePusher(f"ipc://{tmp_path}/c", source="radius") as pusher,
        pytest.raises(DstmError, match=text),
    ):
        pusher.put([binding])


def test_too_many_tunnel_ends(tmp_path: Path) -> None:
    rows = [Binding("198.18.0.1", CLIENT, f"2001:db8:f::{n:x}") for n in range(256)]
    with (
        LeasePusher(f"ipc://{tmp_path}/c", source="radius") as pusher,
        pytest.raises(DstmError, match="256 different tep6"),
    ):
        pusher.put(rows)
