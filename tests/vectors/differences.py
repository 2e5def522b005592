"""Where we do otherwise than the cases expect, and by which rule; docs/differences.md lists them.

A difference changes a case before it is run, so that what must leave is still known to the octet.
"""

from __future__ import annotations

import dataclasses
import struct
from ipaddress import IPv4Address
from typing import TYPE_CHECKING, Final

from tests import oracle
from tests.vectors import octets

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.vectors.case import Case

TOO_BIG_MTU: Final = 1400  # in place of one below 1280
ERROR_TTL: Final = 255


@dataclasses.dataclass(frozen=True)
class Difference:
    """`cases` are numbers; `change` gives the case as we understand it."""

    name: str
    cases: tuple[str, ...]
    change: Callable[[Case], Case]


def ttl_at_exit(case: Case) -> Case:
    """R15: a packet that leaves its tunnel is forwarded, so its TTL goes down by one."""
    leaving = (octets.with_ttl(f, f[octets.inner_at(f) + 8] - 1) for f in case.expect4)
    return dataclasses.replace(case, expect4=tuple(leaving))


def own_ident(case: Case) -> Case:
    """RFC 791: fragments have the identification of their datagram."""
    ident = octets.word(case.in6[0], octets.inner_at(case.in6[0]) + 4)
    leaving = (octets.with_ident(frame, ident) for frame in case.expect4)
    return dataclasses.replace(case, expect4=tuple(leaving))


def kept_fragments(case: Case) -> Case:
    """R20: IPv4 fragments go through as they are; put together they are the expected datagram."""
    ident = octets.word(case.in4[0], octets.inner_at(case.in4[0]) + 4)
    leaving = (octets.with_ident(frame, ident) for frame in octets.whole(case.expect6))
    return dataclasses.replace(case, expect6=tuple(leaving))


def nothing_leaves(case: Case) -> Case:
    """The packet is dropped, silently."""
    return dataclasses.replace(case, expect4=(), expect6=())


def back_to_its_sender(case: Case) -> Case:
    """R25: the identifier of an echo request is its port, here one of the sender's own."""
    (frame,) = case.in6
    at = octets.ip_at(frame)
    client6, tep6 = frame[at + 8 : at + 24], frame[at + 24 : at + 40]
    turned = octets.put(frame, at + 8, tep6 + client6)
    turned = octets.put(turned, 0, case.v6.next_mac + case.v6.mac)
    ttl = frame[octets.inner_at(frame) + 8] - 1
    return dataclasses.replace(case, expect6=(octets.with_ttl(turned, ttl),))


def own_ttl(case: Case) -> Case:
    """An error that we send was not forwarded by us: its TTL is what is configured."""
    leaving = (octets.with_ttl(frame, ERROR_TTL) for frame in case.expect6)
    return dataclasses.replace(case, expect6=tuple(leaving))


def quoted_as_it_came(case: Case) -> Case:
    """R23: the quotation is the packet before we counted down its TTL; sums stay the same."""
    (frame,), (error,) = case.in6, case.expect6
    quoted = octets.ETHER + octets.IPV6 + 20 + 8
    packet = frame[octets.inner_at(frame) :]
    return dataclasses.replace(case, expect6=(octets.put(error, quoted, packet),))


def told_unreachable(case: Case) -> Case:
    """R3: host unreachable, quoting the packet as it came."""
    (frame,) = case.in4
    packet = frame[octets.ip_at(frame) :]
    message = bytes([3, 1]) + bytes(6) + packet
    message = octets.put(message, 2, oracle.checksum(message).to_bytes(2, "big"))
    header = struct.pack("!BBHHHBBH", 0x45, 0, 20 + len(message), 0, 0, ERROR_TTL, 1, 0)
    ends = IPv4Address(case.v4.address).packed + packet[12:16]
    link = case.v4.next_mac + case.v4.mac + bytes.fromhex("0800")
    error = octets.summed4(link + header + ends + message, octets.ETHER)
    return dataclasses.replace(case, expect4=(error,))


DIFFERENCES: Final = (
    Difference("ttl at exit", ("18", "22", "34", "56"), ttl_at_exit),
    Difference("own identification", ("18",), own_ident),
    Difference("fragments pass", ("14", "58"), kept_fragments),
    Difference("header checksum", ("36", "38"), nothing_leaves),
    Difference("echo identifier", ("44",), back_to_its_sender),
    Difference("ttl of errors", ("46", "70"), own_ttl),
    Difference("quoted ttl", ("46",), quoted_as_it_came),
    Difference("packet too big below 1280", ("66",), nothing_leaves),
    Difference("unbound pings", ("62",), told_unreachable),
)
COMPARED_WHOLE: Final = ("14", "58")
"""Cases whose frames are compared after their fragments are put together."""


def header_repaired(case: Case) -> Case:
    """The inner header checksum put right, also in the quotation of an error."""
    (frame,) = case.in6
    repaired = octets.summed4(frame, octets.inner_at(frame))
    quoted = octets.ETHER + octets.IPV6 + 8 + octets.IPV6
    errors = (octets.summed6(octets.summed4(error, quoted)) for error in case.expect6)
    return dataclasses.replace(case, in6=(repaired,), expect6=tuple(errors))


def too_big_repaired(case: Case) -> Case:
    """Packet Too Big with an MTU that may be."""
    (frame,), (error,) = case.in6, case.expect4
    mtu_at = octets.ip_at(frame) + octets.IPV6 + 4
    arriving = octets.summed6(octets.put(frame, mtu_at, TOO_BIG_MTU.to_bytes(4, "big")))
    icmp_at = octets.ip_at(error) + 20
    told = octets.put(error, icmp_at + 6, (TOO_BIG_MTU - octets.IPV6).to_bytes(2, "big"))
    leaving = octets.put(told, icmp_at + 2, bytes(2))
    total = oracle.checksum(leaving[icmp_at:])
    leaving = octets.put(leaving, icmp_at + 2, total.to_bytes(2, "big"))
    return dataclasses.replace(case, in6=(arriving,), expect4=(leaving,))


REPAIRS: Final = {"36": header_repaired, "38": header_repaired, "66": too_big_repaired}
"""Cases that are run once more with the fault of their packets repaired, as they expect it then."""


def understood(case: Case) -> Case:
    """The case with all differences that concern it."""
    for difference in DIFFERENCES:
        if case.number in difference.cases:
            case = difference.change(case)
    return case


def variants(case: Case) -> Iterator[Case]:
    """The case as we understand it, and repaired if it needs to be."""
    yield understood(case)
    if (repair := REPAIRS.get(case.number)) is not None:
        yield dataclasses.replace(repair(case), name=f"{case.name}-repaired")


def comparable(case: Case, frames: tuple[bytes, ...]) -> list[bytes]:
    """What is compared: all octets but the identification of IPv6 fragments, which is random."""
    if case.number in COMPARED_WHOLE:
        return octets.whole(frames)
    return list(map(octets.without_fragment_id, frames))
