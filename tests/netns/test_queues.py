"""Two workers: all pieces of a datagram come to one of them, whichever side it comes from."""

from __future__ import annotations

import contextlib
import socket
from typing import TYPE_CHECKING, Final

import pytest

from dstmrouter.zmqctl import Binding
from lab.topology import CLIENT1, HOST4, ONLINK_INTERFACE, TEP6
from tests.netns.flows import IPPROTO_IPIP, PORT, udp4
from tests.netns.gateway import FIRST4, Gateway, no_ping

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.netns
SHARED: Final = "203.0.113.7"
SENDERS: Final = 8
ROUNDS: Final = 5
SIZE: Final = 1600  # octets of UDP payload: two pieces on every link, and fits a frame
TIMEOUT_S: Final = 10.0


@pytest.fixture(scope="module", params=["auto", "packet_mmap"])
def two_workers(request: pytest.FixtureRequest) -> Iterator[Gateway]:
    with Gateway(mode=request.param, workers=2) as gateway:
        gateway.start_router()
        gateway.bind(FIRST4, CLIENT1)
        client1 = gateway.topology.client1
        gateway.start_client(client1, FIRST4, CLIENT1)
        gateway.wait_until(
            lambda: not no_ping(client1, HOST4, 1), "neighbours that know each other"
        )
        yield gateway


def by_worker(gateway: Gateway, *verdicts: str) -> list[int]:
    return [sum(gateway.count(verdict, worker) for verdict in verdicts) for worker in (0, 1)]


def test_r19_pieces_of_tunnel_packets(two_workers: Gateway) -> None:
    lab, mode = two_workers.topology, two_workers.settings.mode
    before = by_worker(two_workers, "KEPT_JOINED")
    with contextlib.ExitStack() as undo:
        with lab.host4.entered():
            host4 = undo.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
        host4.bind((HOST4, PORT))
        host4.settimeout(TIMEOUT_S)
        for n in range(SENDERS):
            ipv4, client6 = f"203.0.113.{n + 11}", f"2001:db8:1::a{n}"
            two_workers.bind(ipv4, client6)
            lab.client1.address(ONLINK_INTERFACE, f"{client6}/64")
            with lab.client1.entered():
                tunnel = socket.socket(socket.AF_INET6, socket.SOCK_RAW, IPPROTO_IPIP)
            undo.enter_context(tunnel).bind((client6, 0))
            for _ in range(ROUNDS):
                tunnel.sendto(udp4(ipv4, HOST4, PORT, bytes(SIZE)), (TEP6, 0))
                assert host4.recvfrom(3000) == (bytes(SIZE), (ipv4, PORT))
    joined = [
        now - then for now, then in zip(by_worker(two_workers, "KEPT_JOINED"), before, strict=True)
    ]
    assert sum(joined) == SENDERS * ROUNDS
    # The kernel of `access` gives all of a port without queues to one queue; packet_mmap spreads.
    assert min(joined) > 0 or mode != "packet_mmap"
    assert two_workers.count("DROP_PIECE_TIMEOUT") == 0


def test_r20_pieces_for_a_shared_address(two_workers: Gateway) -> None:
    lab = two_workers.topology
    with two_workers.pusher() as pusher:
        pusher.put([Binding(SHARED, CLIENT1, TEP6, 600, psid_len=4, psid=PORT >> 12)])
    with contextlib.ExitStack() as undo:
        with lab.client1.entered():
            tunnel = undo.enter_context(
                socket.socket(socket.AF_INET6, socket.SOCK_RAW, IPPROTO_IPIP)
            )
        tunnel.bind((CLIENT1, 0))
        tunnel.settimeout(TIMEOUT_S)
        for n in range(SENDERS):
            address = f"192.0.2.{n + 150}"
            lab.host4.address("lo", f"{address}/32")
            with lab.host4.entered():
                host4 = undo.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
            host4.bind((address, 0))
            for _ in range(ROUNDS):
                host4.sendto(bytes(SIZE), (SHARED, PORT))
                assert {tunnel.recv(3000)[12:16] for _ in range(2)} == {socket.inet_aton(address)}
    firsts = by_worker(two_workers, "FRAGMENTED")
    assert min(firsts) > 0
    assert two_workers.count("DROP_FRAGMENT_SHARED") == 0
    assert two_workers.count("KEPT_FRAGMENT") == 0
