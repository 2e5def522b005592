from __future__ import annotations

import csv
import io
import json
import time
from typing import TYPE_CHECKING, Any

import pytest
from typer.testing import CliRunner

from dstmrouter.cli.ctl import app
from tests.cli.test_ctl import ask
from tests.zmqctl.sockets import control_in_thread

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

NOON = 1_772_362_800.0  # 2026-03-01T11:00:00Z


def holding(number: int, until: float | None) -> dict[str, Any]:
    return {
        "ipv4": f"192.0.2.{number}",
        "client6": f"2001:db8::{number}",
        "identity": 'ann, "the first"',
        "lease_id": number,
        "since": NOON + number,
        "until": until,
    }


class Server:
    """A server that answers from three lasting and three ended holdings, two at a time."""

    def __init__(self) -> None:
        self.asked: list[dict[str, Any]] = []

    async def at(self, params: dict[str, Any]) -> dict[str, Any]:
        self.asked.append(params)
        holders = [holding(7, NOON + 60.25)] if params["ipv4"] == "192.0.2.7" else []
        return {"ipv4": params["ipv4"], "at": params.get("at", NOON), "holders": holders}

    async def lasting(self, params: dict[str, Any]) -> dict[str, Any]:
        return self._page([holding(n, None) for n in (1, 2, 3)], params)

    async def ended(self, params: dict[str, Any]) -> dict[str, Any]:
        return self._page([holding(n, NOON + 100) for n in (4, 5, 6)], params)

    @staticmethod
    def _page(rows: list[dict[str, Any]], params: dict[str, Any]) -> dict[str, Any]:
        first = params.get("after", 0)
        return {"holdings": rows[first : first + 2], "after": None if first else 2}


@pytest.fixture
def served(tmp_path: Path) -> Iterator[tuple[str, Server]]:
    server = Server()
    handlers = {
        "history.at": server.at,
        "history.lasting": server.lasting,
        "history.ended": server.ended,
    }
    with control_in_thread(f"ipc://{tmp_path}/c", handlers=handlers) as control:
        yield control.endpoint, server


@pytest.mark.parametrize(
    ("address", "port"),
    [("192.0.2.7", {}), ("192.0.2.7:4711", {"port": 4711}), ("192.0.2.7:0", {"port": 0})],
)
@pytest.mark.parametrize("at", ["2026-03-01T12:00:00+01:00", "2026-03-01T11:00:00Z"])
def test_whohad_asks_in_unix_time(
    served: tuple[str, Server], address: str, port: dict[str, int], at: str
) -> None:
    endpoint, server = served
    text = ask("whohad", address, "--at", at, "--server", endpoint)
    assert server.asked == [{"ipv4": "192.0.2.7", "at": NOON} | port]
    for expected in ("2001:db8::7", "2026-03-01T11:00:07.000+00:00", "2026-03-01T11:01:00.250"):
        assert expected in text


def test_a_time_without_a_zone_is_local(
    served: tuple[str, Server], monkeypatch: pytest.MonkeyPatch
) -> None:
    endpoint, server = served
    monkeypatch.setenv("TZ", "UTC-1")  # an hour east
    time.tzset()
    try:
        ask("whohad", "192.0.2.7", "--at", "2026-03-01T12:00", "--server", endpoint)
    finally:
        monkeypatch.delenv("TZ")
        time.tzset()
    assert server.asked == [{"ipv4": "192.0.2.7", "at": NOON}]


def test_whohad_for_scripts_and_for_nobody(served: tuple[str, Server]) -> None:
    endpoint, server = served
    answer = json.loads(ask("whohad", "192.0.2.7", "--json", "--server", endpoint))
    assert server.asked == [{"ipv4": "192.0.2.7"}]
    assert answer["at"] == "2026-03-01T11:00:00.000+00:00"
    assert [one["lease_id"] for one in answer["holders"]] == [7]
    text = ask("whohad", "192.0.2.8", "--server", endpoint)
    assert text == "nobody had 192.0.2.8 at 2026-03-01T11:00:00.000+00:00\n"


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["192.0.2.256"], "expected an IPv4 address"),
        (["192.0.2.7:65536"], "expected an IPv4 address"),
        (["192.0.2.7:"], "expected an IPv4 address"),
        (["2001:db8::7"], "expected an IPv4 address"),
        (["192.0.2.7", "--at", "yesterday"], "expected ISO 8601"),
        (["192.0.2.7", "--at", "2026-02-30"], "expected ISO 8601"),
    ],
)
def test_bad_arguments(arguments: list[str], expected: str) -> None:
    outcome = CliRunner().invoke(app, ["whohad", *arguments], env={"COLUMNS": "200"})
    assert outcome.exit_code == 2
    assert expected in outcome.output


def test_export_writes_all_pages_as_csv(served: tuple[str, Server]) -> None:
    text = ask("history", "export", "--server", served[0])
    rows = list(csv.DictReader(io.StringIO(text)))
    assert [row["lease_id"] for row in rows] == list("123456")
    assert rows[0] == {
        "ipv4": "192.0.2.1",
        "client6": "2001:db8::1",
        "identity": 'ann, "the first"',
        "since": "2026-03-01T11:00:01.000+00:00",
        "until": "",
        "lease_id": "1",
        "psid_offset": "",
        "psid_len": "",
        "psid": "",
    }
    assert rows[3]["until"] == "2026-03-01T11:01:40.000+00:00"


def test_export_writes_a_json_object_per_line(served: tuple[str, Server]) -> None:
    text = ask("history", "export", "--format", "jsonl", "--server", served[0])
    rows = [json.loads(line) for line in text.splitlines()]
    assert [row["lease_id"] for row in rows] == [1, 2, 3, 4, 5, 6]
    assert rows[0]["until"] is None
