"""What the documents say of the code is what the code says."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from dstmrouter.daemon.datagram_socket import DatagramTally
from dstmrouter.daemon.rpc_tally import RpcTally
from dstmrouter.daemon.stream_connection import StreamTally
from dstmrouter.daemon.tsp_tally import TspTally
from dstmrouter.pipeline.verdict import Verdict
from dstmrouter.protocols.dstm_rpc import Stat
from dstmrouter.protocols.tsp_status import Status
from dstmrouter.runtime import TurnStep

ROOT = Path(__file__).parent.parent
DOCUMENTS = sorted([ROOT / "README.md", ROOT / "CHANGELOG.md", *(ROOT / "docs").glob("*.md")])


def test_every_verdict_is_explained_in_operations() -> None:
    text = (ROOT / "docs" / "operations.md").read_text(encoding="utf-8")
    rows = dict(re.findall(r"^\| `([A-Z0-9_]+)` \| (.*) \|$", text, re.MULTILINE))
    verdicts = {verdict.name: verdict.help for verdict in Verdict}
    assert {
        name: text for name, text in rows.items() if name not in TurnStep.__members__
    } == verdicts


def test_every_step_of_a_worker_is_explained() -> None:
    rows = table_in("operations.md", r"^\| `([A-Z_0-9]+)` \| (.*) \|$")
    steps = [(step.name, step.help) for step in TurnStep]
    assert [row for row in rows if row[0] in TurnStep.__members__] == steps


def test_every_counter_and_stat_of_rpc_is_explained() -> None:
    text = (ROOT / "docs" / "rpc.md").read_text(encoding="utf-8")
    rows = dict(re.findall(r"^\| `([a-z0-9-]+)` \| (.*) \|$", text, re.MULTILINE))
    tables = (RpcTally, StreamTally, DatagramTally)
    assert rows == {tally.value: tally.help for table in tables for tally in table}
    stats = re.findall(r"^\| (\d+) DSTM_(\w+) \|", text, re.MULTILINE)
    assert stats == [(str(stat.value), stat.name) for stat in Stat]


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_links_lead_to_files(document: Path) -> None:
    text = document.read_text(encoding="utf-8")
    targets = [t for t in re.findall(r"\]\(([^)#]+)\)", text) if "://" not in t]
    missing = [target for target in targets if not (document.parent / target).exists()]
    assert missing == []


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_named_files_exist(document: Path) -> None:
    text = document.read_text(encoding="utf-8")
    named = re.findall(r"`((?:dstmrouter|lab|perf|tests|conf|docs)/[\w/.]+\.\w+)`", text)
    assert [name for name in named if not (ROOT / name).exists()] == []


def table_in(name: str, row: str) -> list[tuple[str, ...]]:
    text = (ROOT / "docs" / name).read_text(encoding="utf-8")
    return [found.groups() for found in re.finditer(row, text, re.MULTILINE)]


def test_every_status_is_explained() -> None:
    rows = table_in("tsp.md", r"^\| (\d{3}) \| (.*) \| (.*) \|$")
    assert rows == [(str(int(status)), status.text, status.help) for status in Status]


def test_every_counter_of_tsp_is_explained() -> None:
    rows = table_in("tsp.md", r"^\| `([a-z-]+)` \| (.*) \|$")
    tables = (TspTally, StreamTally, DatagramTally)
    counters = [(tally.value, tally.help) for table in tables for tally in table]
    assert rows[-len(counters) :] == counters
