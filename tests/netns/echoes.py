"""Pings that wait for late answers.

ping(8) does not: once it has seen an answer it ends, after its last request, within twice the
longest round trip or one interval. With 20 ms between pings, that is less than what a busy machine
keeps a process waiting, and answers that come are told as lost.
"""

from __future__ import annotations

import contextlib
import secrets
import socket
import struct
import time
from ipaddress import ip_address
from typing import TYPE_CHECKING, Final, NamedTuple

from lab.netns import PATIENCE_S
from tests import oracle

if TYPE_CHECKING:
    from lab.netns import Namespace

SILENCE_S: Final = 2.0  # after the last request: who is silent so long does not answer
PING_SIZE: Final = 56  # octets of payload, as ping's
IP_MTU_DISCOVER, IP_PMTUDISC_DO = 10, 2  # linux/in.h: with DF, by the MTUs that are known


class Form(NamedTuple):
    """What the requests look like; `ident` None is any identifier."""

    size: int = PING_SIZE  # octets of payload
    tos: int = 0
    whole: bool = False  # with DF
    ident: int | None = None
    interval_s: float = 0.02
    wait_s: float = PATIENCE_S  # after the last request, while answers are missing


PLAIN: Final = Form()


class Family(NamedTuple):
    """A family's raw sockets; `headed` ones receive the IPv4 header too (raw(7))."""

    family: socket.AddressFamily
    protocol: int
    request: int
    reply: int
    headed: bool


FAMILIES: Final = {
    4: Family(socket.AF_INET, socket.IPPROTO_ICMP, 8, 0, headed=True),
    6: Family(socket.AF_INET6, socket.IPPROTO_ICMPV6, 128, 129, headed=False),
}


def answered(space: Namespace, target: str, count: int, form: Form = PLAIN) -> int:
    """Send `count` echo requests; how many were answered.

    The socket is not connected: a client on demand changes the host's address on the way.

    Raises:
        ValueError: the target is no address.
    """
    spoken = FAMILIES[ip_address(target).version]
    ident = secrets.randbelow(1 << 16) if form.ident is None else form.ident
    body = bytes(n & 0xFF for n in range(form.size))
    found: set[int] = set()
    with contextlib.ExitStack() as undo:
        with space.entered():
            sock = socket.socket(spoken.family, socket.SOCK_RAW, spoken.protocol)
        undo.enter_context(sock)
        _set(sock, form)
        for number in range(count):
            with contextlib.suppress(OSError):  # told of an earlier one, or no way: not answered
                sock.sendto(_request(spoken.request, ident, number, body), (target, 0))
            last = number == count - 1
            _gather(sock, spoken, ident, found, count, form.wait_s if last else form.interval_s)
    return len(found)


def _set(sock: socket.socket, form: Form) -> None:
    """IPv4 options of the socket; IPv6 requests are plain."""
    if sock.family == socket.AF_INET:
        sock.setsockopt(socket.IPPROTO_IP, socket.IP_TOS, form.tos)
        if form.whole:
            sock.setsockopt(socket.IPPROTO_IP, IP_MTU_DISCOVER, IP_PMTUDISC_DO)


def _request(kind: int, ident: int, number: int, payload: bytes) -> bytes:
    """An echo request; the kernel sets the checksum of ICMPv6 itself (RFC 3542 section 3.1)."""
    body = struct.pack("!HH", ident, number) + payload
    return struct.pack("!BBH", kind, 0, oracle.checksum(bytes((kind, 0)) + body)) + body


def _gather(
    sock: socket.socket, spoken: Family, ident: int, found: set[int], wanted: int, seconds: float
) -> None:
    """Add the numbers of answers to `found` for some seconds, or until all are there."""
    end = time.monotonic() + seconds
    while len(found) < wanted and (left := end - time.monotonic()) > 0:
        sock.settimeout(left)
        try:
            packet = sock.recv(65535)
        except OSError:  # nothing in time, or an error about a request
            continue
        message = packet[(packet[0] & 15) * 4 :] if spoken.headed else packet
        if message[0] == spoken.reply and len(message) >= 8:
            answer, number = struct.unpack_from("!HH", message, 4)
            if answer == ident and number < wanted:
                found.add(number)
