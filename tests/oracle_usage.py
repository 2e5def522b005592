"""What a frame adds to the usage of bindings: the scalar version, from the fate it has alone."""

from __future__ import annotations

from collections import Counter
from ipaddress import IPv4Address
from typing import TYPE_CHECKING, TypeAlias

from tests import oracle, oracle_ports

if TYPE_CHECKING:
    from tests.pipeline.worlds import World

    Key: TypeAlias = tuple[IPv4Address, int | None, str]
    """Address, PSID if it is shared, name of a field of usage."""

TO = {"ENCAPSULATED", "FRAGMENTED", "HAIRPINNED"}
FROM = {"DECAPSULATED", "DECAPSULATED_ECN_ODD", "HAIRPINNED"}


def usage(world: World, frame: bytes, port: int, verdict: str) -> Counter[Key]:
    """By the verdict of a frame that came in by `port`."""
    added: Counter[Key] = Counter()
    for direction, verdicts in (("to", TO), ("from", FROM)):
        if verdict in verdicts:
            packet = inner(frame, world.ports[port].vlan)
            whose = holder(world, packet, towards_client=direction == "to")
            added[*whose, f"packets_{direction}_client"] += 1
            added[*whose, f"octets_{direction}_client"] += len(packet)
    return added


def inner(frame: bytes, vlan: int | None) -> bytes:
    """The IPv4 packet of a frame that was forwarded, without what pads it."""
    ethertype, packet = oracle.link(frame, vlan)
    if ethertype == 0x86DD:
        _, packet = oracle.skip_options(packet[6], packet[40:])
    return packet[: int.from_bytes(packet[2:4], "big")]


def holder(world: World, packet: bytes, *, towards_client: bool) -> tuple[IPv4Address, int | None]:
    """Whose packet it is: address, and PSID if that is shared."""
    address = IPv4Address(packet[16:20] if towards_client else packet[12:16])
    divided = world.shared.get(address)
    if divided is None:
        return address, None
    key = oracle_ports.key(packet, towards_client=towards_client)
    assert isinstance(key, int)
    return address, oracle_ports.psid_of(key, divided.offset, divided.length)
