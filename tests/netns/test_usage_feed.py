"""The feed of usage of a real router under traffic, and programs that read it."""

from __future__ import annotations

import json
import socket
import subprocess
from typing import TYPE_CHECKING, Final

import numpy as np
import pytest

from dstmrouter.binding import USAGE_FIELDS, address4, address6
from dstmrouter.zmqctl import KeyPair, UsageSubscriber, write_keys
from lab.netns import PATIENCE_S
from lab.topology import CLIENT1, CLIENT2, HOST4
from tests.netns.flows import PORT, Client, Flow
from tests.netns.gateway import FIRST4, Gateway, program

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from dstmrouter.zmqctl import UsageReport

pytestmark = pytest.mark.netns
OCTETS: Final = 20 + 8 + 4  # of an IPv4 packet of a flow
SECOND4, THIRD4, FOURTH4 = "203.0.113.2", "203.0.113.3", "203.0.113.4"
SETTINGS: Final = """
[worker]
engine = "numpy"

[usage_feed]
bind = "ipc://{}/usage"
interval_s = 0.1
"""
FEED: Final = "tcp://127.0.0.1:5703"
CURVE: Final = """
[curve]
secret_key_file = "{0}/router.key"

[[curve.allowed]]
name = "noc"
public_key = "{1}"
"""


@pytest.fixture(scope="module")
def gateway() -> Iterator[Gateway]:
    with Gateway() as made:
        text = made.router_toml.read_text()
        made.router_toml.write_text(text + SETTINGS.format(made.directory))
        with made.topology.host4.entered():
            sink = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        with sink:
            sink.bind((HOST4, PORT))  # else the host would answer with errors, which count
            made.start_router()
            yield made


@pytest.fixture(scope="module")
def client(gateway: Gateway) -> Iterator[Client]:
    with Client(gateway.topology.client1) as made:
        yield made


@pytest.fixture
def biller(gateway: Gateway) -> Iterator[Biller]:
    with Biller(gateway) as made:
        yield made


class Biller(UsageSubscriber):
    """Knows what is charged to each account; the larger numbers are true."""

    def __init__(self, gateway: Gateway) -> None:
        super().__init__(
            f"ipc://{gateway.directory}/usage", gateway.settings.router_control, timeout_s=1
        )
        self.now: dict[tuple[bytes, int], tuple[str, list[int]]] = {}
        self.finals: list[tuple[str, str, list[int]]] = []
        """Address, client and numbers of what has ended, each once."""

    def read(self) -> UsageReport:
        report = self.take(PATIENCE_S)
        assert report is not None, "nothing was told"
        columns = report.columns
        for row, account in enumerate(columns.account.tolist()):
            ipv4, client6 = str(address4(columns.ipv4[row])), str(address6(columns.client6[row]))
            key, usage = (report.epoch, account), columns.usage[row]
            before = self.now.pop(key, (ipv4, [0] * 4))[1]
            usage = np.maximum(usage, np.array(before, np.uint64)).tolist()
            if columns.until is None:
                self.now[key] = (ipv4, usage)
            else:
                self.finals.append((ipv4, client6, usage))
        return report

    def read_until_used(self, ipv4: str, usage: list[int]) -> UsageReport:
        """Until these are the numbers of an account of this address; returns the last report."""
        report = self.read()
        while (ipv4, usage) not in self.now.values():
            report = self.read()
        return report

    def read_until_ended(self, ipv4: str) -> UsageReport:
        report = self.read()
        while all(final[0] != ipv4 for final in self.finals):
            report = self.read()
        return report


def used(gateway: Gateway, ipv4: str) -> list[int]:
    (row,) = gateway.control.call("bindings", ipv4=ipv4, usage=True)["bindings"]
    return [row[name] for name in USAGE_FIELDS]


def send(gateway: Gateway, client: Client, ipv4: str) -> None:
    """One packet of the client, that has been forwarded when this returns."""
    before = gateway.count("DECAPSULATED")
    client.send(ipv4, HOST4, 1)
    gateway.wait_until(lambda: gateway.count("DECAPSULATED") > before, "a packet")


def test_what_is_counted_is_told_and_who_comes_late_is_told_all(
    gateway: Gateway, client: Client, biller: Biller
) -> None:
    gateway.bind(FIRST4)
    for on, counted in ((False, None), (True, 1), (False, None), (True, 2)):
        gateway.control.call("usage.set", on=on)
        send(gateway, client, FIRST4)
        if counted is not None:
            biller.read_until_used(FIRST4, [0, 0, counted, counted * OCTETS])
    with Biller(gateway) as late:
        assert late.read_until_used(FIRST4, [0, 0, 2, 2 * OCTETS]).at is not None
    words = ["usage", "watch", "--json", "--count", "1"]
    command = program("ctl", *words, "--router", gateway.settings.router_control)
    lines = subprocess.run(command, stdout=-1, check=True, text=True).stdout.splitlines()
    shown = json.loads(lines[0])
    assert (shown["ipv4"], shown["client6"], shown["octets_from_client"]) == (
        FIRST4,
        CLIENT1,
        2 * OCTETS,
    )


def test_under_traffic_all_is_told_and_what_ends_with_its_last_numbers(
    gateway: Gateway, client: Client, biller: Biller
) -> None:
    gateway.control.call("usage.set", on=True)
    gateway.bind(SECOND4, CLIENT1)
    with Flow(gateway.topology, SECOND4, client) as flow:
        gateway.wait_until(flow.passes, "a packet")
        with flow.running():
            seen = 0
            while seen < 5:  # messages of an account at work
                report = biller.read()
                seen += any(told[0] == SECOND4 and told[1][0] for told in biller.now.values())
                assert report.columns.until is None
        before = used(gateway, SECOND4)
        gateway.wait_until(flow.passes, "one more, which is still to be told")
        gateway.wait_until(lambda: flow.got[-1] == flow.sent - 1, "the last packet")
        # What has arrived may be counted a moment later.
        gateway.wait_until(lambda: used(gateway, SECOND4)[0] == len(flow.got), "the last count")
    total = used(gateway, SECOND4)
    assert total[0] > before[0]
    biller.read_until_used(SECOND4, total)
    gateway.bind(FOURTH4, CLIENT1)
    with gateway.pusher() as pusher:
        assert pusher.remove([SECOND4]).applied == 1
    gateway.bind(SECOND4, CLIENT2)  # another holder begins at 0
    biller.read_until_ended(SECOND4)
    assert [final for final in biller.finals if final[0] == SECOND4] == [(SECOND4, CLIENT1, total)]
    assert biller.counters["gaps"] == 0


def test_what_is_lost_is_asked_for(gateway: Gateway, client: Client, biller: Biller) -> None:
    gateway.control.call("usage.set", on=True)
    for ipv4 in (THIRD4, FOURTH4):
        gateway.bind(ipv4)
        send(gateway, client, ipv4)
        biller.read_until_used(ipv4, [0, 0, 1, OCTETS])
    feed = f"ipc://{gateway.directory}/usage"
    biller._socket.disconnect(feed)
    before = gateway.control.call("usage")["generation"]
    send(gateway, client, THIRD4)
    send(gateway, client, FOURTH4)
    gateway.unbind(THIRD4)
    wanted = before + 2  # one about what is more, one about what ended
    gateway.wait_until(lambda: gateway.control.call("usage")["generation"] >= wanted, "messages")
    biller._socket.connect(feed)
    biller.read_until_used(FOURTH4, [0, 0, 2, 2 * OCTETS])
    assert [final for final in biller.finals if final[0] == THIRD4] == [
        (THIRD4, CLIENT1, [0, 0, 2, 2 * OCTETS])
    ]
    assert biller.counters["gaps"] == 1


def test_a_killed_router_is_another_epoch(gateway: Gateway, client: Client, biller: Biller) -> None:
    gateway.bind(FIRST4)
    gateway.control.call("usage.set", on=True)
    send(gateway, client, FIRST4)
    first = biller.read_until_used(FIRST4, used(gateway, FIRST4))
    gateway.kill(gateway.router)
    gateway.start_router()
    gateway.bind(FIRST4)
    gateway.control.call("usage.set", on=True)
    send(gateway, client, FIRST4)
    while (second := biller.read_until_used(FIRST4, [0, 0, 1, OCTETS])).epoch == first.epoch:
        pass
    gateway.unbind(FIRST4)
    biller.finals.clear()
    ended = biller.read_until_ended(FIRST4)
    assert (ended.epoch, ended.ended) == (second.epoch, 1)
    assert biller.finals == [(FIRST4, CLIENT1, [0, 0, 1, OCTETS])]
    assert (gateway.directory / "usage").exists()
    assert gateway.stop_router() == 0
    assert not (gateway.directory / "usage").exists()


def test_over_tcp_only_keys_of_the_list_are_told(gateway: Gateway, client: Client) -> None:
    gateway.stop_router()  # if no test before has done it
    ours, theirs = KeyPair.generate(), KeyPair.generate()
    for pair, name in ((ours, "router"), (theirs, "noc")):
        write_keys(pair, gateway.directory / f"{name}.key")
    text = gateway.router_toml.read_text()
    text = text.replace(f"ipc://{gateway.directory}/usage", FEED)
    gateway.router_toml.write_text(text + CURVE.format(gateway.directory, theirs.public))
    gateway.start_router()
    gateway.bind(FIRST4)
    gateway.control.call("usage.set", on=True)
    send(gateway, client, FIRST4)

    def watch(key: str) -> subprocess.Popen[str]:
        access: list[str | Path] = ["--key", gateway.directory / key, "--peer-key", ours.public]
        words = ["--json", "--count", "1", "--router", gateway.settings.router_control]
        command = program("ctl", *access, "usage", "watch", *words)
        return gateway.topology.router.popen(*command, stdout=subprocess.PIPE, text=True)

    stranger = watch("router.key")
    told, _ = watch("noc.key").communicate(timeout=PATIENCE_S)
    assert json.loads(told)["packets_from_client"] == 1
    gateway.wait_until(lambda: ours.public in gateway.log.read_text(), "a refused key")
    assert stranger.poll() is None
    stranger.kill()
    assert stranger.communicate()[0] == ""
