"""Every bench runs from end to end, with real processes, and prints what programs can read."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

from lab.netns import NETNS_DIR, PREFIX
from perf.cases import AIMS
from perf.leaseclients import WAYS

FIELDS = {"bench", "work", "burst", "bindings", "frame", "value", "unit", "runs"}
MORE_FIELDS = {script: {"flows", "frames"} for script in ("pipeline", "accounting")}
MAY_BE_ZERO = (": lost", ": no-loss", ": dropped", ": user share", " CPU", ": cost")
END_S = 120

pytestmark = [
    pytest.mark.netns,
    pytest.mark.usefixtures("untraced"),
    pytest.mark.skipif(os.geteuid() != 0, reason="network namespaces need root"),
]


def figures(script: str, *options: str, may_be_zero: tuple[str, ...] = ()) -> dict[str, float]:
    """Run a bench in its quick mode; values by what was measured."""
    words = [sys.executable, "-m", "perf", script, "--quick", "--json", *options]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as process:
        try:
            output, _ = process.communicate(timeout=END_S)
        finally:
            process.kill()
    assert process.returncode == 0
    assert list(NETNS_DIR.glob(f"{PREFIX}-{process.pid}-*")) == []
    values = {}
    for line in output.splitlines():
        figure = json.loads(line)
        assert set(figure) == FIELDS | MORE_FIELDS.get(script, set())
        assert figure["bench"] == script
        assert len(figure["runs"]) >= 1
        values[figure["work"]] = figure["value"]
        assert figure["value"] > 0 or figure["work"].endswith(MAY_BE_ZERO + may_be_zero), figure
    return values


def test_pipeline() -> None:
    values = figures("pipeline")
    assert {case.work for case in AIMS} == set(values)


def test_wire() -> None:
    values = figures("wire")
    for io in ("afxdp", "packet_mmap"):
        for way in ("encap", "decap"):
            work = f"{way} {io} dstm-router"
            assert values[f"{work}: forwarded"] <= values[f"{work}: offered"]


def test_bindings() -> None:
    # A generator that gets no CPU for the third of a second of a quick run has nothing forwarded.
    values = figures("bindings", may_be_zero=(": forwarded", ": offered"))
    assert any(value > 0 for work, value in values.items() if work.endswith(": forwarded"))
    assert {"snapshot", "server start", "router memory", "server memory"} <= set(values)
    assert any(work.endswith(": changes") for work in values)
    dropped = {work: value for work, value in values.items() if work.endswith(": dropped")}
    assert dropped
    assert set(dropped.values()) == {0}  # a changed binding is never missing, not for one burst


def test_churn() -> None:
    values = figures("churn")
    dropped = [value for work, value in values.items() if work.endswith(": dropped")]
    assert len(dropped) == 4
    assert set(dropped) == {0}  # a changed binding is never missing, not for one burst


def test_watching() -> None:
    values = figures("watching")
    assert {"no tap", "nobody watches", "filter_in udp"} <= set(values)


def test_runtime() -> None:
    values = figures("runtime")
    assert values["on"] > 0


def test_waking() -> None:
    values = figures("waking")
    assert values["start: forwarding"] <= values["start: compiled"]


def test_leases() -> None:
    values = figures("leases")
    for way in (*WAYS, *(f"postgresql {way}" for way in WAYS)):
        for work in ("obtain", "renew", "release"):
            assert values[f"{way} {work}: p50"] <= values[f"{way} {work}: p99"]
            assert f"{way} {work}" in values
    assert {"restart", "memory", "fsync"} <= set(values)


def test_accounting() -> None:
    values = figures("accounting")
    for work in ("encap", "decap, port sets", "decap, port sets, numpy alone"):
        assert {f"{work}: {state}" for state in ("off", "on", "cost")} <= set(values)


def test_usagefeed() -> None:
    shares = ("0% used", "1% used", "100% used")
    assert set(figures("usagefeed")) == {f"{s}: {what}" for s in shares for what in ("CPU", "held")}
