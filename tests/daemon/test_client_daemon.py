from __future__ import annotations

import asyncio
import signal
import socket
from ipaddress import IPv4Address, IPv6Address
from typing import TYPE_CHECKING

import pytest

from dstmrouter.daemon.lease_source import SourceError
from dstmrouter.errors import DstmError
from tests.daemon.client_life import Life, leased, live
from tests.daemon.client_process import MIRROR, Process
from tests.dti.conftest import CLIENT4, CLIENT6, TEP4, TEP6, Wire, wire

if TYPE_CHECKING:
    from pathlib import Path

    from dstmrouter.protocols.granted import GrantedLease

__all__ = ["wire"]  # a fixture

OTHER4, OTHER6 = IPv4Address("192.0.2.8"), IPv6Address("2001:db8::77")
SHORT_S = 4
IMPATIENT = {"reply_s": 0.3, "losses": 2}
OBTAIN = f"obtain {CLIENT6} None None"

pytestmark = pytest.mark.netns


@pytest.fixture
def gateway(wire: Wire, tmp_path: Path) -> Process:
    mirrored = Process(wire.tep, tmp_path / "gateway", *MIRROR, "--backend", "tun")
    assert mirrored.is_up(), mirrored.said()
    return mirrored


@pytest.mark.usefixtures("gateway")
def test_bound_used_and_given_back(wire: Wire, tmp_path: Path) -> None:
    told = tmp_path / "told"
    hook = tmp_path / "hook"
    hook.write_text(f"#!/bin/sh\necho $DSTM_EVENT $DSTM_REASON $DSTM_SERVER >>{told}\n")
    hook.chmod(0o755)

    async def scenario(life: Life) -> None:
        await life.until_state("BOUND")
        status = life.status()
        assert status["lease"]["client4"] == str(CLIENT4)
        assert (status["server"], status["protocol"]) == (str(TEP6), "tsp")
        assert 440 < status["t1_in_s"] <= 450
        await asyncio.to_thread(wire.client.run, "ping", "-c", "1", str(TEP4))

    life = Life(wire, tmp_path, (leased(),))
    live(life, scenario, hooks={"bind": str(hook), "release": str(hook)})
    assert life.source.asked == [OBTAIN, f"release {CLIENT4}"]
    assert life.source.closed
    assert told.read_text() == f"bind {TEP6}\nrelease released {TEP6}\n"
    assert (life.run_dir / "dti0.last").read_text() == f"{CLIENT4}\n"


@pytest.mark.usefixtures("gateway")
def test_the_last_address_is_wished_for_and_the_lease_renewed(wire: Wire, tmp_path: Path) -> None:
    async def scenario(life: Life) -> None:
        await life.until(lambda: len(life.source.asked) == 3)
        await life.until(lambda: life.status()["lease"]["lifetime_s"] == 900)
        assert life.has_dti()

    life = Life(wire, tmp_path, (leased(lifetime_s=SHORT_S), leased(lifetime_s=SHORT_S), leased()))
    life.run_dir.mkdir()
    (life.run_dir / "dti0.last").write_text(f"{OTHER4}\n")
    live(life, scenario, lease={"lifetime_s": SHORT_S})
    assert life.source.asked == [
        f"obtain {CLIENT6} {OTHER4} {SHORT_S}",
        f"renew {CLIENT4} {SHORT_S}",
        f"renew {CLIENT4} {SHORT_S}",
        f"release {CLIENT4}",
    ]


@pytest.mark.usefixtures("gateway")
def test_at_the_end_of_a_lease_its_address_goes(wire: Wire, tmp_path: Path) -> None:
    async def scenario(life: Life) -> None:
        await life.until_state("BOUND")
        await life.until(lambda: not life.has_dti())
        await life.until(life.has_dti)
        assert str(OTHER4) in wire.client.ip("address", "show", "dti0")

    def answer() -> GrantedLease | SourceError:
        return SourceError("no", final=True) if life.has_dti() else leased(OTHER4)

    life = Life(wire, tmp_path, (leased(lifetime_s=SHORT_S), answer, answer, answer))
    live(life, scenario)
    words = " ".join(asked.split()[0] for asked in life.source.asked)
    # A busy machine may stand still from when any server may be asked until the lease ends.
    assert words in {"obtain renew obtain obtain release", "obtain renew obtain release"}


@pytest.mark.usefixtures("gateway")
def test_another_ipv6_address(wire: Wire, tmp_path: Path) -> None:
    async def scenario(life: Life) -> None:
        await life.until_state("BOUND")
        wire.client.address("eth0", f"{OTHER6}/64")
        wire.client.ip("address", "delete", f"{CLIENT6}/64", "dev", "eth0")
        await life.until(lambda: len(life.source.asked) == 2)
        await life.until(lambda: (life.status()["lease"] or {}).get("client6") == str(OTHER6))

    life = Life(wire, tmp_path, (leased(), leased(client6=OTHER6)))
    live(life, scenario, keepalive={"verify": False, "interval_s": 0})
    assert life.source.asked[1] == f"obtain {OTHER6} {CLIENT4} None"


def test_a_gateway_that_dies_and_comes_back(wire: Wire, tmp_path: Path, gateway: Process) -> None:
    async def scenario(life: Life) -> None:
        await life.until_state("BOUND")
        gateway.process.send_signal(signal.SIGSTOP)
        try:
            await life.until_state("DEAD")
            assert life.has_dti()
            await life.until(lambda: len(life.source.asked) == 2)
        finally:
            gateway.process.send_signal(signal.SIGCONT)
        await life.until_state("BOUND")

    again = [leased()] * 10  # a busy machine may make it look dead more than once
    life = Life(wire, tmp_path, (leased(), SourceError("no router"), *again))
    live(life, scenario, keepalive=IMPATIENT)
    assert life.source.asked[1] == f"obtain {CLIENT6} {CLIENT4} None"


def test_a_lease_through_a_silent_gateway_does_not_count_as_bound(
    wire: Wire, tmp_path: Path
) -> None:
    async def scenario(life: Life) -> None:
        await life.until_state("DEAD")

    live(Life(wire, tmp_path, (leased(), None)), scenario, keepalive=IMPATIENT)


def test_refusals_are_shown_and_a_stop_does_not_wait(wire: Wire, tmp_path: Path) -> None:
    async def scenario(life: Life) -> None:
        await life.until(lambda: len(life.source.asked) == 2)
        assert life.status()["error"] == "pool empty"

    life = Life(wire, tmp_path, (SourceError("pool empty"), None))
    live(life, scenario)
    assert life.source.asked == [OBTAIN, OBTAIN]


def test_native_ipv4_is_not_replaced(wire: Wire, tmp_path: Path) -> None:
    wire.client.address("eth0", "198.51.100.7/24")
    wire.client.route("default", "via", "198.51.100.1")

    async def scenario(life: Life) -> None:
        await life.until(lambda: "IPv4 of its own" in (life.status().get("error") or ""))
        assert life.source.asked == []
        wire.client.ip("route", "delete", "default")
        await life.until_state("BOUND")

    live(Life(wire, tmp_path, (leased(),)), scenario, keepalive={"verify": False})


def test_a_tunnel_that_cannot_be_made_gives_the_lease_back(wire: Wire, tmp_path: Path) -> None:
    wire.client.address("lo", f"{CLIENT4}/32")

    async def scenario(life: Life) -> None:
        await life.until(lambda: len(life.source.asked) == 2)
        await life.until_state("INIT")
        assert "is already an address of lo" in life.status()["error"]
        assert life.status()["retry_in_s"] > 100

    life = Life(wire, tmp_path, (leased(),))
    live(life, scenario)
    assert life.source.asked == [OBTAIN, f"release {CLIENT4}"]


def test_hooks_are_not_told_of_a_lease_without_a_tunnel(wire: Wire, tmp_path: Path) -> None:
    wire.client.address("lo", f"{CLIENT4}/32")
    told = tmp_path / "told"
    hook = tmp_path / "hook"
    hook.write_text(f"#!/bin/sh\necho $DSTM_EVENT >>{told}\n")
    hook.chmod(0o755)

    async def scenario(life: Life) -> None:
        await life.until(lambda: len(life.source.asked) == 2)

    life = Life(wire, tmp_path, (leased(),))
    hooks = {"bind": str(hook), "release": str(hook)}
    live(life, scenario, hooks=hooks, keepalive={"verify": False})
    assert not told.exists()


def test_a_deleted_interface_ends_the_client(wire: Wire, tmp_path: Path) -> None:
    async def scenario(life: Life) -> None:
        await life.until_state("BOUND")
        wire.client.ip("link", "delete", "dti0")
        await asyncio.Event().wait()

    with pytest.raises(DstmError, match="read from the tunnel interface"):
        live(Life(wire, tmp_path, (leased(),)), scenario, keepalive={"verify": False})


@pytest.mark.usefixtures("gateway")
def test_on_demand_a_packet_asks_and_idleness_gives_back(wire: Wire, tmp_path: Path) -> None:
    async def scenario(life: Life) -> None:
        await life.until_state("INIT")
        await life.until(life.has_dti)
        assert life.source.asked == []
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            sock.sendto(b"question", ("198.51.100.9", 53))
        await life.until_state("BOUND")
        await life.until(lambda: f"release {CLIENT4}" in life.source.asked)
        await life.until_state("INIT")
        await asyncio.to_thread(wire.client.run, "ping", "-c", "1", "-W", "5", str(TEP4))
        await life.until_state("BOUND")

    life = Life(wire, tmp_path, (leased(), leased()))
    live(life, scenario, client={"mode": "demand", "idle_s": 1})
    assert [asked.split()[0] for asked in life.source.asked] == ["obtain", "release"] * 2
