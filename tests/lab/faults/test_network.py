"""Who reaches whom, and that a pulled cable cuts its machine off."""

from __future__ import annotations

from functools import partial

import pytest

from lab.faults.network import CLIENTS, FEED6, GUESTS6, HOST4, ROUTERS, SERVER6, Network
from lab.netns import wait_until
from lab.topology import TEP6

pytestmark = pytest.mark.netns


def reaches(network: Network, machine: str, target: str) -> bool:
    said = network[machine].run("ping", "-c", "1", "-W", "0.2", target, check=False)
    return " 1 received" in said


def test_cables_carry_and_can_be_pulled() -> None:
    with Network.build() as network:
        for machine in (*CLIENTS, "guests"):
            wait_until(partial(reaches, network, machine, SERVER6), machine)
        for client in CLIENTS:
            assert reaches(network, client, TEP6)
        for router in ROUTERS:
            assert reaches(network, router, FEED6)
            assert reaches(network, router, HOST4[router])
        assert reaches(network, "server", GUESTS6[-1])
        network.pull("gw1-lan", "gw2-mgmt")
        for client, router in CLIENTS.items():
            assert reaches(network, client, TEP6) == (router != "gw1")
        assert reaches(network, "gw1", FEED6)
        assert not reaches(network, "gw2", FEED6)
        network.plug("gw1-lan", "gw2-mgmt")
        wait_until(lambda: reaches(network, "client1", TEP6), "gw1 is back")
        wait_until(lambda: reaches(network, "gw2", FEED6), "gw2 is back")
