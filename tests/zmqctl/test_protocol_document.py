"""docs/zmq-protocol.md says what the code does: its examples decode, its program runs."""

from __future__ import annotations

import re
import subprocess
import sys
from ipaddress import IPv4Address
from pathlib import Path
from typing import Final

import pytest

from dstmrouter.daemon import usage_feed
from dstmrouter.zmqctl import (
    columns,
    control,
    fetch,
    messages,
    publisher,
    push_intake,
    usage_columns,
)
from dstmrouter.zmqctl.messages import decode
from tests.zmqctl.samples import Table
from tests.zmqctl.sockets import control_in_thread

TEXT: Final = (Path(__file__).parents[2] / "docs" / "zmq-protocol.md").read_text()
HEX: Final = dict(re.findall(r"```hex (\S+)\n(.*?)```", TEXT, re.DOTALL))


def test_the_program_runs_with_nothing_but_pyzmq_and_msgpack(tmp_path: Path) -> None:
    (program,) = re.findall(r"```python\n(.*?)```", TEXT, re.DOTALL)
    assert "dstmrouter" not in program
    table = Table()
    with control_in_thread(f"ipc://{tmp_path}/c", on_push=table.apply) as server:
        outcome = subprocess.run(
            [sys.executable, "-c", program, server.endpoint, "192.0.2.7", "2001:db8::7",
             "2001:db8:f::1"],
            capture_output=True, text=True, timeout=60, check=True,
        )  # fmt: skip
    assert "'type': 'pushed', 'id': 1, 'applied': 1" in outcome.stdout
    assert list(table.rows) == [int(IPv4Address("192.0.2.7"))]
    assert table.updates[0].source == "example"


@pytest.mark.parametrize("name", HEX)
def test_octets_in_the_text_decode(name: str) -> None:
    message = decode(bytes.fromhex(HEX[name]))
    assert name == message.TYPE
    assert messages.encode(message).hex() == "".join(HEX[name].split())


def test_every_message_and_key_is_in_the_table() -> None:
    rows = re.findall(r"^\| `([a-z-]+)` \| [^|]+ \| ([^|]+) \|$", TEXT, re.MULTILINE)
    listed = {kind: re.findall(r"`(\w+)`", keys) for kind, keys in rows}
    defined = {kind: list(messages._CHECKS[cls]) for kind, cls in messages._CLASSES.items()}
    assert {kind: listed.get(kind) for kind in defined} == defined


def test_every_column_is_in_the_table() -> None:
    for name in (*columns._WIRE_DTYPES, *usage_columns._WIRE_DTYPES, "until", "sources"):
        assert re.search(rf"^\|.*`{name}`.*\|", TEXT, re.MULTILINE), name


@pytest.mark.parametrize(
    ("row", "limit"),
    [
        ("one message", messages.MESSAGE_MAX),
        ("entries of one msgpack array", messages.ITEMS_MAX),
        ("bindings in a message", columns.ROWS_MAX),
        ("bindings in a message", publisher.DELTA_ROWS),
        ("calls at work", messages.CALLS_MAX),
        ("pushes waiting", push_intake.QUEUE_MAX),
        ("messages waiting for one peer", control.SEND_QUEUE),
        ("messages waiting for one subscriber", publisher.QUEUE_MAX),
        ("usage of bindings in a message", usage_columns.USAGE_ROWS_MAX),
        ("usage of bindings in a message", usage_feed.ROWS),
        ("usage messages waiting", usage_feed.QUEUE_MAX),
    ],
)
def test_limits_are_those_of_the_code(row: str, limit: int) -> None:
    (line,) = re.findall(rf"^\| {row}[^|]* \|([^|]*)\|", TEXT, re.MULTILINE)
    assert re.search(rf"\b{limit:,}\b", line), line


def test_window_of_parts_is_that_of_the_code() -> None:
    assert f"At most {fetch.WINDOW} parts are asked for" in TEXT
    assert f"within {fetch.RETRY_S:g} s" in TEXT
    assert f"after {fetch.GIVE_UP_S:g} s" in TEXT
