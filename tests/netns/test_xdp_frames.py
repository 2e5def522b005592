"""A router between links that take XDP frames: veth pairs whose far ends have GRO."""

from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING, Any, Final

import pytest

from lab.netns import interfaces
from lab.topology import CLIENT1, HOST4
from lab.transfer import download, random_file, serve
from tests.netns.conftest import LENT1
from tests.netns.echoes import Form
from tests.netns.gateway import Gateway, alive, no_ping, pings

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.netns

SIZE: Final = 4 << 20
DEVICE: Final = "dstm-send"
TRANSMIT: Final = 'interface = "{0}"\ntransmit = "{1}"'


def gro(gateway: Gateway, state: str) -> None:
    lab = gateway.topology
    for space, interface in ((lab.access, "torouter"), (lab.host4, "eth0")):
        space.run("ethtool", "-K", interface, "gro", state)


def queues(gateway: Gateway) -> list[dict[str, Any]]:
    """What the only worker says of each port."""
    return [queue for port in gateway.control.call("ports")["ports"] for queue in port["queues"]]


def as_frames(gateway: Gateway) -> list[int]:
    """How many packets each port has sent as XDP frames."""
    return [queue["statistics"]["xdp_frames_sent"] for queue in queues(gateway)]


def devices(gateway: Gateway) -> list[str]:
    return [name for name in interfaces(gateway.topology.router) if name.startswith(DEVICE)]


def transmitting(how: str) -> Gateway:
    ports = ("port6", "port4")
    return Gateway(changes={f'interface = "{port}"': TRANSMIT.format(port, how) for port in ports})


@pytest.fixture(scope="module")
def gateway() -> Iterator[Gateway]:
    with Gateway() as made:
        gro(made, "on")
        made.start_router()
        made.bind(LENT1, CLIENT1)
        made.start_client(made.topology.client1, LENT1, CLIENT1)
        yield made


def test_tcp_passes_both_ways_most_of_it_as_frames(gateway: Gateway, tmp_path: Path) -> None:
    lab = gateway.topology
    assert [queue["sends"] for queue in queues(gateway)] == ["xdp-frames"] * 2
    content = random_file(tmp_path / "file", SIZE)
    host4 = serve(lab.host4, tmp_path, HOST4)
    client = serve(lab.client1, tmp_path, "0.0.0.0")
    assert client.endswith(":8080")

    def both_sides_have() -> bool:
        assert download(lab.client1, f"{host4}/file", tmp_path / "got1") == content
        assert download(lab.host4, f"http://{LENT1}:8080/file", tmp_path / "got2") == content
        return min(as_frames(gateway)) > 0

    gateway.wait_until(both_sides_have, "packets sent as XDP frames")
    assert [queue["statistics"]["xdp_frames_refused"] for queue in queues(gateway)] == [0, 0]
    assert [queue["statistics"]["xdp_frames_errors"] for queue in queues(gateway)] == [0, 0]
    assert [ledger["missing"] for ledger in gateway.ledgers()] == [0]


@pytest.mark.parametrize("size", [1, 100, 1400, 4000])
def test_pings_of_every_size_come_back_whole(gateway: Gateway, size: int) -> None:
    assert pings(gateway.topology.client1, HOST4, form=Form(size=size)) == 5
    assert pings(gateway.topology.host4, LENT1, form=Form(size=size)) == 5


def test_a_far_end_that_takes_no_frames_any_more(gateway: Gateway, tmp_path: Path) -> None:
    content = random_file(tmp_path / "file", SIZE)
    host4 = serve(gateway.topology.host4, tmp_path, HOST4, 8081)
    for state in ("off", "on"):
        gro(gateway, state)
        # Until the worker looks again, half a second later, TCP has to repeat some.
        got = download(gateway.topology.client1, f"{host4}/file", tmp_path / "got")
        assert got == content
    assert [ledger["missing"] for ledger in gateway.ledgers()] == [0]


def test_a_killed_worker_takes_its_device_along(gateway: Gateway) -> None:
    assert len(devices(gateway)) == 1
    killed = gateway.pids()[0]
    os.kill(killed, signal.SIGKILL)
    gateway.wait_until(lambda: not alive(killed) and gateway.ledgers(), "another worker")
    gateway.wait_until(lambda: not no_ping(gateway.topology.client1, HOST4, 1), "a ping")
    assert len(devices(gateway)) == 1
    assert [queue["sends"] for queue in queues(gateway)] == ["xdp-frames"] * 2
    assert gateway.stop_router() == 0
    assert devices(gateway) == []


def test_by_socket_if_that_is_wanted() -> None:
    with transmitting("socket") as gateway:
        gro(gateway, "on")
        gateway.start_router()
        assert [queue["sends"] for queue in queues(gateway)] == ["socket"] * 2
        assert devices(gateway) == []


@pytest.mark.parametrize("how", ["auto", "xdp-frames"])
def test_a_link_that_takes_none_gets_packets_all_the_same(how: str) -> None:
    with transmitting(how) as gateway:
        gateway.start_router()
        gateway.bind(LENT1, CLIENT1)
        gateway.start_client(gateway.topology.client1, LENT1, CLIENT1)
        assert [queue["sends"] for queue in queues(gateway)] == ["xdp-frames"] * 2
        assert pings(gateway.topology.client1, HOST4, form=Form(size=1400)) == 5
        assert as_frames(gateway) == [0, 0]
