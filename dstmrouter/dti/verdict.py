"""What became of each packet at the client's end; the verdict is its own counter."""

from __future__ import annotations

from enum import IntEnum


class Verdict(IntEnum):
    """Outcomes of the two directions: OUT is host to tunnel, IN is tunnel to host."""

    help: str

    def __new__(cls, value: int, text: str) -> Verdict:
        """Make a member with its help text."""
        verdict = int.__new__(cls, value)
        verdict._value_ = value
        verdict.help = text
        return verdict

    OUT_SENT = 0, "sent to the tunnel end point"
    OUT_NOT_IPV4 = 1, "dropped: the host routed something that is no whole IPv4 packet into dti"
    OUT_SOURCE = 2, "dropped: the source is not the leased address"
    OUT_NOT_UNICAST = 3, "dropped: multicast or broadcast destination"
    OUT_QUEUE_FULL = 4, "dropped: the socket's send queue is full"
    OUT_REFUSED = 5, "dropped: the kernel could not send it (no route, address lost)"
    IN_DELIVERED = 6, "delivered to the host"
    IN_DELIVERED_ECN = 7, "delivered, with an ECN mark that no sane path makes (RFC 6040 4.2)"
    IN_SOURCE = 8, "dropped: not from our tunnel end point"
    IN_MALFORMED = 9, "dropped: version, header length or total length of the IPv4 header"
    IN_CHECKSUM = 10, "dropped: IPv4 header checksum"
    IN_DESTINATION = 11, "dropped: not for the leased address"
    IN_ECN = 12, "dropped: congestion mark on a packet that cannot carry it (RFC 6040 4.2)"
    IN_REFUSED = 13, "dropped: the host did not take it (dti is down)"
    OUT_WAITING = 14, "kept until there is a lease, and then sent if that is soon"
    OUT_NO_LEASE = 15, "dropped: there is no lease yet, and enough packets are kept"
    OUT_PORT = 16, "dropped: not of our port set (who has removed the NAT?)"
