"""A real router follows a real server: grants, and deaths of either side in any order."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

import pytest

from dstmrouter.zmqctl import RefusedError
from lab.topology import CLIENT1
from tests.netns.flows import Client, Flow
from tests.netns.gateway import Gateway

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = [pytest.mark.netns, pytest.mark.usefixtures("untraced")]
SHORT = {"quarantine_s = 1": "quarantine_s = 0\nmin_s = 1\ngrace_s = 1"}
QUICK = {"[feed]\nbind": "[feed]\nheartbeat_s = 0.2\nack_timeout_s = 20\nbind"}
MANY = 200


@pytest.fixture
def gateway() -> Iterator[Gateway]:
    """Nothing is started."""
    with Gateway(with_server=True, changes=SHORT | QUICK) as made:
        yield made


@contextlib.contextmanager
def flow_to(gateway: Gateway, ipv4: str) -> Iterator[Flow]:
    with (
        Client(gateway.topology.client1) as client,
        Flow(gateway.topology, ipv4, client) as flow,
    ):
        yield flow


def grant(gateway: Gateway, client6: str = CLIENT1, **params: Any) -> str:
    """A lease that the router has, as the server answers after it; returns the address."""
    lease = gateway.lessor.call("lease.grant", timeout_s=20, client6=client6, **params)
    return str(lease["ipv4"])


def grant_many(gateway: Gateway) -> dict[str, str]:
    clients = [f"2001:db8:1::{number:x}" for number in range(0x1000, 0x1000 + MANY)]
    return {grant(gateway, client): client for client in clients}


def lent(gateway: Gateway) -> dict[str, str]:
    rows = gateway.lessor.call("leases", limit=1000)["leases"]
    return {row["ipv4"]: row["client6"] for row in rows if row["state"] == "active"}


def feed(gateway: Gateway) -> dict[str, Any]:
    [state] = gateway.status()["feeds"]
    return dict(state)


def test_lease_works_when_it_is_granted_and_not_after_its_release(gateway: Gateway) -> None:
    gateway.start_both()
    ipv4 = grant(gateway)
    with flow_to(gateway, ipv4) as flow:
        gateway.wait_until(flow.passes, "a packet")
        gateway.lessor.call("lease.release", timeout_s=20, ipv4=ipv4)
        gateway.wait_until(lambda: gateway.bindings() == {}, "removal")
        assert gateway.count("DROP_NO_BINDING") == 0
        dropped = flow.send()
        gateway.wait_until(lambda: gateway.count("DROP_NO_BINDING") == 1, "the packet dropped")
        assert dropped not in flow.got


def test_killed_server_takes_no_lease_with_it(gateway: Gateway) -> None:
    gateway.start_router()  # before the server: it waits for it
    gateway.start_server()
    ipv4 = grant(gateway, lifetime_s=600)
    leases = grant_many(gateway) | {ipv4: CLIENT1}
    assert gateway.bindings() == leases == lent(gateway)
    with flow_to(gateway, ipv4) as flow:
        gateway.wait_until(flow.passes, "a packet")
        first = flow.sent
        with flow.running():
            epoch = feed(gateway)["epoch"]
            gateway.kill(gateway.server)
            seen = flow.sent
            gateway.wait_until(lambda: flow.sent > seen + 100, "traffic without a server")
            assert gateway.bindings() == leases
            gateway.start_server()
            gateway.wait_until(lambda: feed(gateway)["epoch"] != epoch, "the server's new run")
            assert grant(gateway, "2001:db8:1::ffff") not in leases
            assert lent(gateway).items() > leases.items()
            assert gateway.bindings() == lent(gateway)
        gateway.wait_until(lambda: flow.got[-1] == flow.sent - 1, "the last packet")
        assert set(flow.got) >= set(range(first, flow.sent)), "a packet was lost"


def test_killed_router_gets_its_bindings_back(gateway: Gateway) -> None:
    gateway.start_both()
    ipv4 = grant(gateway)
    leases = grant_many(gateway) | {ipv4: CLIENT1}
    gateway.kill(gateway.router)
    gateway.start_router()
    gateway.wait_until(lambda: gateway.bindings() == leases, "all bindings")
    with flow_to(gateway, ipv4) as flow:
        gateway.wait_until(flow.passes, "a packet")


def test_both_killed_and_started_in_either_order(gateway: Gateway) -> None:
    gateway.start_both()
    leases = grant_many(gateway)
    for first, second in (
        (gateway.start_server, gateway.start_router),
        (gateway.start_router, gateway.start_server),
    ):
        gateway.kill(gateway.server)
        gateway.kill(gateway.router)
        first()
        second()
        gateway.wait_until(lambda: gateway.bindings() == leases, "all bindings")
        assert lent(gateway) == leases


def test_lease_ends_at_the_router_by_itself(gateway: Gateway) -> None:
    gateway.start_both()
    ipv4 = grant(gateway, lifetime_s=3)
    with flow_to(gateway, ipv4) as flow:
        gateway.wait_until(flow.passes, "a packet")
        gateway.kill(gateway.server)
        assert gateway.bindings() == {ipv4: CLIENT1}
        gateway.wait_until(lambda: gateway.bindings() == {}, "the end of the binding")
        assert not flow.passes()
        gateway.wait_until(lambda: gateway.count("DROP_NO_BINDING") > 0, "the drop to be counted")


def test_grant_waits_for_a_required_router(gateway: Gateway) -> None:
    text = gateway.server_toml.read_text()
    gateway.server_toml.write_text(text.replace("ack_timeout_s = 20", "ack_timeout_s = 0.5"))
    gateway.start_server()
    with pytest.raises(RefusedError) as refused:
        grant(gateway)
    assert refused.value.reason == "try-again"
    gateway.start_router()
    gateway.wait_until(lambda: feed(gateway)["epoch"], "the router follows")
    ipv4 = grant(gateway)
    assert gateway.bindings() == {ipv4: CLIENT1}


def test_pushed_and_followed_bindings_do_not_touch_each_other(gateway: Gateway) -> None:
    gateway.start_both()
    ipv4 = grant(gateway)
    with gateway.pusher() as pusher:
        result = pusher.remove([ipv4])
        assert (result.applied, result.refused) == (0, 1)
        assert pusher.replace_all([]).rows == 0
    gateway.bind("203.0.113.200", "2001:db8:1::200")
    assert gateway.bindings() == {ipv4: CLIENT1, "203.0.113.200": "2001:db8:1::200"}
