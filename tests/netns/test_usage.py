"""Usage by binding from a real router, with both engines, through workers that come and go."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import pytest

from dstmrouter.binding import USAGE_FIELDS
from dstmrouter.zmqctl.usage_columns import unpack_usage
from lab.topology import CLIENT1, CLIENT2, HOST4
from tests.netns.flows import PORT, Client
from tests.netns.gateway import FIRST4, Gateway, program
from tests.netns.test_kill import flow_of_each_worker

if TYPE_CHECKING:
    from collections.abc import Iterator

    import numpy.typing as npt

pytestmark = pytest.mark.netns
OCTETS: Final = 20 + 8 + 4  # of an IPv4 packet of a flow
SECOND4, THIRD4 = "203.0.113.2", "203.0.113.3"


@pytest.fixture(scope="module", params=["compiled", "numpy"])
def gateway(request: pytest.FixtureRequest) -> Iterator[Gateway]:
    engine = f'[worker]\nengine = "{request.param}"\nusage = true\n\n[umem]'
    with Gateway(workers=2, changes={"[umem]": engine}) as made:
        with made.topology.host4.entered():
            sink = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        with sink:
            sink.bind((HOST4, PORT))  # else the host would answer with errors, which count
            made.start_router()
            made.wait_until(
                lambda: [each["engine"] for each in made.ledgers()] == [request.param] * 2,
                f"the {request.param} engine",
            )
            yield made


@pytest.fixture(scope="module")
def client(gateway: Gateway) -> Iterator[Client]:
    with Client(gateway.topology.client1) as made:
        yield made


def dstmctl(gateway: Gateway, *words: str) -> dict[str, Any]:
    words = (*words, "--json", "--router", gateway.settings.router_control)
    said = subprocess.run(program("ctl", *words), stdout=-1, check=True).stdout
    answer: dict[str, Any] = json.loads(said)
    return answer


def used(gateway: Gateway, ipv4: str) -> list[int]:
    (row,) = gateway.control.call("bindings", ipv4=ipv4, usage=True)["bindings"]
    return [row[name] for name in USAGE_FIELDS]


def forwarded(gateway: Gateway) -> npt.NDArray[np.int64]:
    """What the workers have counted by verdicts, as usage of somebody who has all of it."""
    to_client, from_client = (gateway.count(name) for name in ("ENCAPSULATED", "DECAPSULATED"))
    return np.array([to_client, to_client * OCTETS, from_client, from_client * OCTETS])


def test_usage_is_what_was_forwarded_and_survives_workers(gateway: Gateway, client: Client) -> None:
    gateway.bind(FIRST4)
    start = forwarded(gateway)

    def agrees() -> bool:
        return used(gateway, FIRST4) == [*(forwarded(gateway) - start)]

    with flow_of_each_worker(gateway, client) as flows:
        assert agrees()
        for flow in [*flows.values()] * 10:
            flow.send()
        client.send(FIRST4, HOST4, 1)
        gateway.wait_until(lambda: used(gateway, FIRST4)[2] == 1, "a packet of the client")
        gateway.wait_until(
            lambda: all(flow.got[-1] == flow.sent - 1 for flow in flows.values()), "the last ones"
        )
        assert agrees()
        before = used(gateway, FIRST4)
        assert before[0] >= 22
        killed = gateway.pids()[0]
        os.kill(killed, signal.SIGKILL)
        gateway.wait_until(lambda: gateway.pids().get(0, killed) != killed, "another worker")
        assert used(gateway, FIRST4) == before
        gateway.wait_until(flows[0].passes, "the flow after the kill")
        gateway.wait_until(lambda: used(gateway, FIRST4)[0] > before[0], "a packet counted")
        gateway.wait_until(agrees, "the sum")
    (row,) = dstmctl(gateway, "bindings", "--usage", "--ipv4", FIRST4)["bindings"]
    assert [row[name] for name in USAGE_FIELDS] == used(gateway, FIRST4)


def test_a_new_holder_begins_at_zero_and_the_account_of_the_old_one_is_kept(
    gateway: Gateway, client: Client
) -> None:
    gateway.bind(SECOND4, CLIENT1)
    last = gateway.control.call("usage")["ended"]
    client.send(SECOND4, HOST4, 1)
    gateway.wait_until(lambda: used(gateway, SECOND4)[2] == 1, "a packet counted")
    gateway.unbind(SECOND4)
    gateway.bind(SECOND4, CLIENT2)
    client.send(SECOND4, HOST4, 2)  # it is not the client's any more
    gateway.wait_until(lambda: gateway.count("DROP_SPOOF_CLIENT") == 1, "a packet dropped")
    assert used(gateway, SECOND4) == [0, 0, 0, 0]
    ended = gateway.control.call("usage.ended", after=last)
    columns = unpack_usage(ended["bindings"])
    assert columns.usage.tolist() == [[0, 0, 1, OCTETS]]
    assert columns.sources == (f"tests-{os.getpid()}",)
    (row,) = dstmctl(gateway, "usage", "ended", "--after", str(last))["bindings"]
    assert (row["number"], row["ipv4"], row["client6"]) == (last + 1, SECOND4, CLIENT1)


def test_off_nothing_is_counted_and_what_was_stays(gateway: Gateway, client: Client) -> None:
    gateway.bind(THIRD4)
    client.send(THIRD4, HOST4, 1)
    gateway.wait_until(lambda: used(gateway, THIRD4)[2] == 1, "a packet counted")
    for word, counted in (("off", 1), ("on", 2)):
        assert dstmctl(gateway, "usage", word)["on"] is (word == "on")
        before = gateway.count("DECAPSULATED")
        client.send(THIRD4, HOST4, 2)
        # Usage is counted before verdicts are.
        gateway.wait_until(lambda n=before: gateway.count("DECAPSULATED") > n, "it")  # type: ignore[misc]
        assert used(gateway, THIRD4) == [0, 0, counted, counted * OCTETS]
