from __future__ import annotations

import os
import select
import socket
import threading
from contextlib import ExitStack, closing
from ipaddress import IPv4Address
from typing import TYPE_CHECKING

import pytest
from scapy.layers.inet import IP, UDP

from dstmrouter.dti.carrier import Carrier
from dstmrouter.dti.counters import Counters
from dstmrouter.dti.host import Host
from dstmrouter.dti.plan import QuietLink
from dstmrouter.dti.pump import BATCH, Pump
from dstmrouter.dti.tun import open_tun
from dstmrouter.errors import SystemCallError
from tests.dti.conftest import CLIENT4, CLIENT6, STRANGER6, TEP4, TEP6

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.dti.conftest import Wire

pytestmark = pytest.mark.netns

WITHIN_S = 5.0
PORT = 4000


class Ends:
    """A pump that the test turns by hand, an application behind it and the gateway's socket."""

    def __init__(self, wire: Wire, undo: ExitStack) -> None:
        with wire.client.entered():
            self.tun = open_tun("dti0")
            undo.callback(os.close, self.tun)
            self.carrier = undo.enter_context(closing(Carrier(CLIENT6, TEP6)))
            self.app = undo.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
            with closing(Host()) as host:
                host.carry_out(QuietLink("dti0"))
        wire.client.address("dti0", f"{CLIENT4}/32")
        wire.client.route("default", "dev", "dti0")
        self.app.bind((str(CLIENT4), PORT))
        self.app.settimeout(WITHIN_S)
        self.tep, self.stranger = (undo.enter_context(raw(wire, a)) for a in (TEP6, STRANGER6))
        self.counters = undo.enter_context(closing(Counters()))
        self.pump = Pump(self.tun, self.carrier, CLIENT4, self.counters)

    def send(self, packet: bytes, *, stranger: bool = False) -> None:
        """Let the gateway (or a stranger) send an inner packet, and turn the pump once."""
        (self.stranger if stranger else self.tep).sendto(packet, (str(CLIENT6), 0))
        assert select.select([self.carrier], [], [], WITHIN_S)[0], "nothing came"
        self.pump.inward()

    def counted(self) -> dict[str, int]:
        """Packets by verdict, without what the host sends of its own (multicast reports)."""
        packets = {name: c["packets"] for name, c in self.counters.snapshot().items()}
        return {name: n for name, n in packets.items() if n and name != "out_not_unicast"}


def raw(wire: Wire, address: object) -> socket.socket:
    with wire.tep.entered():
        sock = socket.socket(socket.AF_INET6, socket.SOCK_RAW, socket.IPPROTO_IPIP)
    sock.bind((str(address), 0))
    sock.settimeout(WITHIN_S)
    return sock


@pytest.fixture
def ends(wire: Wire) -> Iterator[Ends]:
    with ExitStack() as undo:
        yield Ends(wire, undo)


def answer(dst: IPv4Address = CLIENT4, **fields: object) -> bytes:
    return bytes(IP(src=str(TEP4), dst=str(dst), **fields) / UDP(dport=PORT) / b"answer")


def test_out_and_back(ends: Ends) -> None:
    ends.app.sendto(b"question", (str(TEP4), 53))
    ends.pump.outward()
    inner = IP(ends.tep.recv(65535))
    assert (inner.src, inner.dst, bytes(inner[UDP].payload)) == (
        str(CLIENT4),
        str(TEP4),
        b"question",
    )
    assert inner.ttl == 64  # a client does not count itself as a hop
    ends.send(answer() + bytes(12))
    assert ends.app.recv(100) == b"answer"
    assert ends.counted() == {"out_sent": 1, "in_delivered": 1}


def test_each_drop_has_its_counter(ends: Ends) -> None:
    ends.send(answer(), stranger=True)
    ends.send(answer(dst=IPv4Address("192.0.2.8")))
    ends.send(b"\x45" + bytes(30))
    ends.send(answer(chksum=1))
    with_mark = answer()
    ends.tep.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_TCLASS, 3)
    ends.send(with_mark)
    ends.tep.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_TCLASS, 0)
    ends.send(answer())
    assert ends.app.recv(100) == b"answer"
    assert ends.counted() == {
        "in_source": 1,
        "in_destination": 1,
        "in_malformed": 1,
        "in_checksum": 1,
        "in_ecn": 1,
        "in_delivered": 1,
    }


def test_a_device_that_is_down_refuses(ends: Ends, wire: Wire) -> None:
    wire.client.ip("link", "set", "dti0", "down")
    ends.send(answer())
    assert ends.counted() == {"in_refused": 1}


def test_a_deleted_device_is_an_error(ends: Ends, wire: Wire) -> None:
    wire.client.ip("link", "delete", "dti0")
    with pytest.raises(SystemCallError, match="read from the tunnel interface"):
        ends.pump.outward()


def test_another_address_of_the_host_does_not_leave(ends: Ends, wire: Wire) -> None:
    wire.client.address("lo", "192.0.2.9/32")
    with wire.client.entered():
        other = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    with other:
        other.bind(("192.0.2.9", 0))
        other.sendto(b"question", (str(TEP4), 53))
    ends.pump.outward()
    assert ends.counted() == {"out_source": 1}


def test_one_turn_takes_a_batch_and_no_more(ends: Ends) -> None:
    for _ in range(BATCH + 3):
        ends.tep.sendto(answer(), (str(CLIENT6), 0))
    ends.pump.inward()
    assert ends.counted() == {"in_delivered": BATCH}
    ends.pump.inward()
    assert ends.counted() == {"in_delivered": BATCH + 3}


def test_the_loop_carries_until_it_is_told_to_stop(ends: Ends) -> None:
    stop, told = socket.socketpair()
    with stop, told:
        loop = threading.Thread(target=ends.pump.run, args=(stop.fileno(),))
        loop.start()
        try:
            ends.app.sendto(b"question", (str(TEP4), 53))
            assert IP(ends.tep.recv(65535)).src == str(CLIENT4)
            ends.tep.sendto(answer(), (str(CLIENT6), 0))
            assert ends.app.recv(100) == b"answer"
        finally:
            told.send(b"x")
            loop.join(WITHIN_S)
        assert not loop.is_alive()
