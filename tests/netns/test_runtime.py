"""Where the time of a real worker goes, as dstmctl shows it, with and without traffic."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from lab.topology import CLIENT1, CLIENT2, HOST4
from tests.cli.daemons import dstmctl
from tests.netns.conftest import LENT1, LENT2
from tests.netns.gateway import Gateway, pings

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.netns


@pytest.fixture(scope="module")
def gateway() -> Iterator[Gateway]:
    with Gateway() as made:
        made.start_router()
        lab = made.topology
        made.bind(LENT1, CLIENT1)
        made.bind(LENT2, CLIENT2)
        made.start_client(lab.client1, LENT1, CLIENT1)
        yield made


def look(gateway: Gateway) -> dict[str, Any]:
    """The only worker, as `dstmctl runtime --json` shows it."""
    done = dstmctl("runtime", "--router", gateway.settings.router_control, "--json")
    assert done.returncode == 0, done.stderr
    [worker] = json.loads(done.stdout)["workers"]
    assert isinstance(worker, dict)
    return worker


def steps(worker: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {step["name"]: step for step in worker["steps"]}


def received(worker: dict[str, Any]) -> dict[str, Any]:
    """The step that takes packets from ports: compiled, or before that code is loaded not."""
    taken = steps(worker)
    return taken["COMPILED_TURN"] if taken["COMPILED_TURN"]["packets"] else taken["RECEIVE"]


def test_a_worker_without_traffic_sleeps_for_timeouts_and_takes_a_turn_for_each(
    gateway: Gateway,
) -> None:
    before = look(gateway)
    gateway.wait_until(
        lambda: look(gateway)["timeouts"] >= before["timeouts"] + 20, "twenty sleeps in vain"
    )
    after = look(gateway)
    sleeps = steps(after)["WAIT"]["calls"] - steps(before)["WAIT"]["calls"]
    # As long as nothing wakes it a turn follows each; those not written yet are few.
    assert after["turns"] - before["turns"] <= 2 * sleeps + 200
    assert after["all_ns"] > before["all_ns"]


def test_packets_are_seen_in_the_steps(gateway: Gateway) -> None:
    def measured() -> bool:
        """One turn in 64 is; so more pings than it takes, and again."""
        pings(gateway.topology.client1, HOST4, 20)
        return bool(received(look(gateway))["packets"])

    gateway.wait_until(measured, "a measured turn with a packet")
    worker = look(gateway)
    assert sum(step["share"] for step in worker["steps"]) == pytest.approx(1, abs=0.001)
    assert received(worker)["ns_per_packet"] > 0
    assert worker["measured_turns"] <= worker["turns"]
    assert worker["all_ns"] / 1e9 < gateway.status()["uptime_s"]


def test_a_worker_tells_how_long_it_took_to_start(gateway: Gateway) -> None:
    def compiled() -> bool:
        [ledger] = gateway.ledgers()
        return ledger["compiled_after_s"] is not None

    gateway.wait_until(compiled, "the compiled code", 120)
    [ledger] = gateway.ledgers()
    assert 0 < ledger["forwarding_after_s"] <= ledger["compiled_after_s"]
    assert ledger["engine"] == "compiled"
