from __future__ import annotations

import os
import socket
from typing import TYPE_CHECKING

import pytest
from scapy.layers.inet import IP, UDP

from dstmrouter.dti.tun import PLAIN, needs_checksum, open_tun
from dstmrouter.errors import SystemCallError
from lab.netns import PATIENCE_S
from tests.dti.conftest import CLIENT4, TEP4

if TYPE_CHECKING:
    from tests.dti.conftest import Wire

pytestmark = pytest.mark.netns


def test_the_device_lives_as_long_as_its_descriptor(wire: Wire) -> None:
    with wire.client.entered():
        fd = open_tun("dti0")
        try:
            assert socket.if_nametoindex("dti0")
            with pytest.raises(SystemCallError, match="create TUN device dti0"):
                open_tun("dti0")
        finally:
            os.close(fd)
        with pytest.raises(OSError, match="no interface with this name"):
            socket.if_nametoindex("dti0")


def test_an_interface_of_others_is_not_taken_over(wire: Wire) -> None:
    wire.client.ip("tuntap", "add", "mode", "tun", "name", "dti0")
    with wire.client.entered(), pytest.raises(SystemCallError, match="dti0: Device or resource"):
        open_tun("dti0")


@pytest.mark.parametrize("complete", [True, False])
def test_the_host_completes_a_checksum_if_told_to(wire: Wire, complete: bool) -> None:
    """A UDP datagram with a wrong checksum arrives only with the header that excuses it."""
    packet = bytes(IP(src=str(TEP4), dst=str(CLIENT4)) / UDP(dport=4000, chksum=1) / b"hello")
    with wire.client.entered():
        fd = open_tun("dti0")
        wire.client.address("dti0", f"{CLIENT4}/32")
        wire.client.route("default", "dev", "dti0")
        receiver = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    try:
        receiver.bind((str(CLIENT4), 4000))
        receiver.settimeout(PATIENCE_S)
        os.write(fd, (needs_checksum(20, 6) if complete else PLAIN) + packet)
        # the second datagram has no checksum, so it always arrives: who is first tells
        plain = bytes(IP(src=str(TEP4), dst=str(CLIENT4)) / UDP(dport=4000, chksum=0) / b"last")
        os.write(fd, PLAIN + plain)
        assert receiver.recv(100) == (b"hello" if complete else b"last")
    finally:
        receiver.close()
        os.close(fd)
