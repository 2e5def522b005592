"""What hosts see of a real router in each of its modes: pings, TCP, hairpin, leases that end."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from lab.topology import CLIENT1, CLIENT2, FAR4, HOST4, PORT4, PORT6, TEP4
from lab.transfer import download, random_file, serve
from tests.netns.conftest import LENT1, LENT2
from tests.netns.gateway import Gateway, alive, no_ping, pings

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.netns
MIB = 1 << 20


def fresh_ledgers(gateway: Gateway) -> list[dict[str, Any]]:
    """The frames of every worker, counted after now and while nothing moves."""
    now = gateway.status()["uptime_s"]

    def told_since() -> bool:
        status = gateway.status()
        heard = [status["uptime_s"] - worker["heard_s"] for worker in status["workers"]]
        return bool(min(heard) > now)

    gateway.wait_until(told_since, "a new notice of every worker")
    return gateway.ledgers()


def test_mode_is_the_one_wished(served: Gateway) -> None:
    wished = served.settings.mode
    taken = "native-copy" if wished == "auto" else wished
    ports = served.control.call("ports")["ports"]
    assert [port["name"] for port in ports] == [PORT6, PORT4]
    assert {queue["mode"] for port in ports for queue in port["queues"]} == {taken}


def test_pings_both_ways(served: Gateway) -> None:
    lab = served.topology
    with served.counting("ENCAPSULATED", 20), served.counting("DECAPSULATED", 20):
        assert pings(lab.client1, HOST4) == 5
        assert pings(lab.client2, FAR4) == 5
        assert pings(lab.host4, LENT1) == 5
        assert pings(lab.host4, LENT2) == 5


def test_clients_reach_each_other(served: Gateway) -> None:
    lab = served.topology
    with served.counting("HAIRPINNED", 20):
        assert pings(lab.client1, LENT2) == 5
        assert pings(lab.client2, LENT1) == 5


def test_tep4_answers_pings_of_clients(served: Gateway) -> None:
    with served.counting("ECHO_ANSWERED", 5):
        assert pings(served.topology.client2, TEP4) == 5


def test_tcp_carries_files_unchanged(served: Gateway, tmp_path: Path) -> None:
    lab = served.topology
    content = random_file(tmp_path / "file", 4 * MIB)
    from_host4 = serve(lab.host4, tmp_path, HOST4)
    serve(lab.client2, tmp_path, "0.0.0.0")  # its own address makes the server ask for a name
    from_client2 = f"http://{LENT2}:8080"
    assert download(lab.client1, f"{from_host4}/file", tmp_path / "got1") == content
    assert download(lab.host4, f"{from_client2}/file", tmp_path / "got2") == content
    assert download(lab.client1, f"{from_client2}/file", tmp_path / "got3") == content


def test_no_frame_is_missing_after_traffic(served: Gateway) -> None:
    pings(served.topology.client1, HOST4, 20)
    for ledger in fresh_ledgers(served):
        assert ledger["missing"] == 0
    queues = [port["queues"] for port in served.control.call("ports")["ports"]]
    held = sum(sum(queue["held"].values()) for port in queues for queue in port)
    [ledger] = served.ledgers()
    assert ledger["pool"] + held == ledger["frames"]


def test_released_lease_is_no_longer_served(served: Gateway) -> None:
    lab = served.topology
    served.unbind(LENT2)
    try:
        with served.counting("DROP_NO_BINDING", 5):
            assert no_ping(lab.host4, LENT2)
        with served.counting("DROP_SPOOF_ADDRESS", 5):
            assert no_ping(lab.client2, HOST4)
        assert pings(lab.client1, HOST4) == 5
    finally:
        served.bind(LENT2, CLIENT2)
    assert pings(lab.host4, LENT2) == 5


def test_address_of_another_client_is_spoofed(served: Gateway) -> None:
    served.bind(LENT1, CLIENT2)
    try:
        with served.counting("DROP_SPOOF_CLIENT", 5):
            assert no_ping(served.topology.client1, HOST4)
    finally:
        served.bind(LENT1, CLIENT1)
    assert pings(served.topology.client1, HOST4) == 5


def test_lease_ends_by_itself(served: Gateway) -> None:
    host4 = served.topology.host4
    served.bind("203.0.113.9", CLIENT1, lifetime_s=1)
    assert "203.0.113.9" in served.bindings()
    served.wait_until(lambda: "203.0.113.9" not in served.bindings(), "end of the binding")
    with served.counting("DROP_NO_BINDING", 5):
        assert no_ping(host4, "203.0.113.9")


def own_discard_routes(gateway: Gateway) -> str:
    return gateway.topology.router.ip("-4", "route", "show", "type", "blackhole", "proto", "213")


@pytest.mark.parametrize("mode", ["auto", "packet_mmap"])
def test_sigterm_leaves_nothing(mode: str) -> None:
    with Gateway(mode=mode, workers=2) as gateway:
        lab = gateway.topology
        gateway.start_router()
        gateway.bind(LENT1, CLIENT1)
        gateway.start_client(lab.client1, LENT1, CLIENT1)
        assert "203.0.113.0/24" in own_discard_routes(gateway)
        before = gateway.kernel_received()
        assert pings(lab.client1, HOST4, 40) == 40
        assert gateway.kernel_received() - before < 40, "the kernel saw what is ours"
        pids = gateway.pids().values()
        assert gateway.stop_router() == 0
        assert len(pids) == 2
        assert not any(alive(pid) for pid in pids)
        assert own_discard_routes(gateway) == ""
        assert "xdp" not in lab.router.ip("-d", "link")
        assert not (gateway.directory / "router").exists(), "control socket left"
        before = gateway.kernel_received()
        assert no_ping(lab.client1, HOST4, 40)
        assert gateway.kernel_received() - before >= 40, "the kernel does not get its packets back"


@pytest.mark.parametrize("modes", [("auto", "packet_mmap"), ("packet_mmap", "packet_mmap")])
def test_second_router_on_the_ports_is_refused(modes: tuple[str, str]) -> None:
    with Gateway(mode=modes[0]) as gateway, Gateway(mode=modes[1]) as other:
        gateway.start_router()
        gateway.bind(LENT1, CLIENT1)
        pids = gateway.pids()
        for config in (gateway.router_toml, other.router_toml):
            code, said = gateway.run_router(config)
            assert code == 1
            assert said.splitlines()[-1] == "dstm-router: port port6: another dstm-router has it"
        assert "203.0.113.0/24" in own_discard_routes(gateway)
        assert gateway.pids() == pids
        assert gateway.bindings() == {LENT1: CLIENT1}
        gateway.start_client(gateway.topology.client1, LENT1, CLIENT1)
        assert pings(gateway.topology.client1, HOST4) == 5


def test_interface_that_does_not_exist_is_one_line() -> None:
    with Gateway(changes={'interface = "port4"': 'interface = "port9"'}) as gateway:
        code, said = gateway.run_router(gateway.router_toml)
        assert code == 1
        assert said.splitlines()[-1] == "dstm-router: [[port]] #2 port9: no such interface"
        assert "Traceback" not in said
        assert own_discard_routes(gateway) == ""
        assert "xdp" not in gateway.topology.router.ip("-d", "link")
