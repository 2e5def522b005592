"""What the far end counts, over a real veth."""

from __future__ import annotations

import os
import socket

import pytest
from scapy.layers.inet import IP, UDP
from scapy.layers.inet6 import IPv6
from scapy.layers.l2 import Ether

from lab.netns import Lab, Namespace, veth, wait_until
from perf.sink import Kind, Sink

pytestmark = [
    pytest.mark.netns,
    pytest.mark.skipif(os.geteuid() != 0, reason="network namespaces need root"),
]
IPV4 = Ether() / IP(dst="192.0.2.1") / UDP()
TUNNEL = Ether() / IPv6(dst="2001:db8::1") / IP(dst="192.0.2.1") / UDP()
OTHERS = (
    Ether() / IPv6(dst="2001:db8::1") / UDP(),
    Ether(type=0x88B5) / bytes(60),  # a local experiment (IEEE 802)
    Ether(type=0x0800),  # too short to tell
)


def send(space: Namespace, *frames: Ether) -> None:
    with space.entered(), socket.socket(socket.AF_PACKET, socket.SOCK_RAW) as sock:
        sock.bind(("near", 0))
        for frame in frames:
            sock.send(bytes(frame))


def test_kinds_are_counted_apart_and_nothing_else_is() -> None:
    with Lab() as lab:
        near, far = lab.namespace("near"), lab.namespace("far")
        veth((near, "near"), (far, "far"))
        with Sink(far, "far") as sink:

            def arrives() -> bool:
                send(near, TUNNEL)
                return sink.settled(Kind.TUNNEL) > 0

            wait_until(arrives, "the kernel sees the carrier")
            before = sink.settled(Kind.TUNNEL)
            send(near, *OTHERS, *[IPV4] * 3, *[TUNNEL] * 5)
            wait_until(lambda: sink.count(Kind.TUNNEL) >= before + 5, "tunnel packets")
            assert (sink.settled(Kind.IPV4), sink.settled(Kind.TUNNEL)) == (3, before + 5)
        sink.close()
