"""Which ICMP errors the router must send about a packet: one at a time, plain Python (R22-R24).

As `tests.oracle`, whose fate of the packet it starts from. Limits are not its business.
"""

from __future__ import annotations

import struct
from ipaddress import IPv4Address, IPv6Address
from typing import TYPE_CHECKING, Final

from tests import oracle, oracle_ports, oracle_tables
from tests.oracle import Fate

if TYPE_CHECKING:
    from tests.pipeline.worlds import BindingSpec, World

QUESTIONS: Final = {0, 8, 9, 10, 13, 14, 15, 16, 17, 18, 42, 43}
BAD, NOTED, PASSED_ON = "DROP_ICMPV6_BAD", "DROP_ICMPV6_NOTED", "DROP_ICMPV6"


class NotOursError(Exception):
    """An ICMPv6 error that is not to be believed."""


class LaterPieceError(Exception):
    """One about a fragment that does not say whose IPv4 packet it is of."""


def fate(world: World, frame: bytes, port: int, now_s: int) -> tuple[Fate, list[Fate]]:
    """What becomes of one frame that came in by `port`, and what we send because of it."""
    became = oracle.fate(world, frame, port, now_s)
    if not became.verdict.startswith("DROP_"):
        return became, []
    if became.verdict == PASSED_ON:
        return _icmpv6(world, frame, port, now_s)
    if became.verdict in {"DROP_SPOOF_ADDRESS", "DROP_SPOOF_CLIENT", "DROP_SPOOF_PORT"}:
        return became, _spoofed(world, frame, port)
    return became, _refused(world, frame, port, now_s, became.verdict)


def _refused(world: World, frame: bytes, port: int, now_s: int, verdict: str) -> list[Fate]:
    """R3, R4, R16, R18."""
    if verdict not in WHY or not world.icmp.generate_icmpv4:
        return []
    ethertype, octets = oracle.link(frame, world.ports[port].vlan)
    if ethertype == 0x86DD:
        payload = octets[40 : 40 + int.from_bytes(octets[4:6], "big")]
        _, octets = oracle.skip_options(octets[6], payload)
    octets = octets[: int.from_bytes(octets[2:4], "big")]
    dst = IPv4Address(octets[16:20])
    if dst == world.rules.tep4:
        return []
    sent, kind, code, rest = WHY[verdict](world, dst, octets)
    if not sent:
        return []
    return _error(world, (sent, kind, code, rest), octets, now_s)


def _no_binding(world: World, dst: IPv4Address, octets: bytes) -> tuple[str, int, int, int]:
    """RFC 7596 8.1: ICMP messages to shared addresses that are nobody's are dropped silently."""
    silent = octets[9] == 1 and dst in world.shared
    told = world.icmp.host_unreachable and not silent
    return "SENT_HOST_UNREACHABLE" if told else "", 3, 1, 0


def _hairpin_off(world: World, _dst: IPv4Address, _octets: bytes) -> tuple[str, int, int, int]:
    return "SENT_PROHIBITED" if world.icmp.prohibited else "", 3, 13, 0


def _ttl(_world: World, _dst: IPv4Address, _octets: bytes) -> tuple[str, int, int, int]:
    return "SENT_TTL", 11, 0, 0


def _too_big(world: World, _dst: IPv4Address, _octets: bytes) -> tuple[str, int, int, int]:
    return "SENT_TOO_BIG", 3, 4, world.rules.path_mtu - 40


def _too_big_v4(world: World, dst: IPv4Address, octets: bytes) -> tuple[str, int, int, int]:
    nets = [net for net in world.routes if dst in net]
    hop = world.hops[world.routes[max(nets, key=lambda net: net.prefixlen)]]
    return "SENT_TOO_BIG" if octets[6] & 0x40 else "", 3, 4, world.ports[hop.port].mtu


def _unreachable(world: World, dst: IPv4Address, _octets: bytes) -> tuple[str, int, int, int]:
    if any(dst in pool for pool in world.pools):
        return "SENT_HOST_UNREACHABLE", 3, 1, 0
    return "SENT_NET_UNREACHABLE", 3, 0, 0


WHY: Final = {
    "DROP_NO_BINDING": _no_binding,
    "DROP_HAIRPIN_OFF": _hairpin_off,
    "DROP_TTL": _ttl,
    "DROP_TOO_BIG": _too_big,
    "DROP_TOO_BIG_V4": _too_big_v4,
    "DROP_UNREACHABLE": _unreachable,
}


def _error(world: World, error: tuple[str, int, int, int], about: bytes, now_s: int) -> list[Fate]:
    """R23 and R24: at most 576 octets; none about errors, later pieces, addresses of many."""
    if world.rules.tep4 is None or not _answerable(about):
        return []
    verdict, kind, code, rest = error
    quote = about[:548]
    message = struct.pack("!BBHI", kind, code, 0, rest) + quote
    message = message[:2] + oracle.checksum(message).to_bytes(2, "big") + message[4:]
    header = struct.pack("!BBHHHBBH", 0x45, 0, 20 + len(message), 0, 0, world.icmp.ttl, 1, 0)
    header += world.rules.tep4.packed + about[12:16]
    header = header[:10] + oracle.checksum(header).to_bytes(2, "big") + header[12:]
    sent = oracle.originate(world, header + message, now_s, verdict)
    return [] if sent is None else [sent]


def _answerable(about: bytes) -> bool:
    words, protocol = about[0] & 15, about[9]
    if int.from_bytes(about[6:8], "big") & 0x1FFF:
        return False
    addresses = IPv4Address(about[12:16]), IPv4Address(about[16:20])
    if any(address in net for address in addresses for net in oracle_tables.MARTIANS):
        return False
    return protocol != 1 or (len(about) > words * 4 and about[words * 4] in QUESTIONS)


def _spoofed(world: World, frame: bytes, port: int) -> list[Fate]:
    """R12: to sources in the access network, by the way their packet came."""
    _, octets = oracle.link(frame, world.ports[port].vlan)
    octets = octets[: 40 + int.from_bytes(octets[4:6], "big")]
    src = IPv6Address(octets[8:24])
    if not any(src in net for net in world.icmp.access_prefixes) or frame[6] & 1:
        return []
    message = struct.pack("!BBHI", 1, 5, 0, 0) + octets[: 1280 - 48]
    pseudo = octets[24:40] + octets[8:24] + struct.pack("!II", len(message), 58)
    message = message[:2] + oracle.checksum(pseudo + message).to_bytes(2, "big") + message[4:]
    header = struct.pack("!IHBB", 6 << 28, len(message), 58, world.rules.hop_limit)
    header += octets[24:40] + octets[8:24]
    ours = world.ports[port]
    tag = b"" if ours.vlan is None else struct.pack("!HH", 0x8100, ours.vlan)
    link = frame[6:12] + ours.mac + tag + b"\x86\xdd"
    return [Fate("SENT_ICMPV6_SPOOF", port, link + header + message)]


def _icmpv6(world: World, frame: bytes, port: int, now_s: int) -> tuple[Fate, list[Fate]]:
    """R22."""
    kind, rest = 0, 0
    try:
        kind, code, rest, quoted = _message(world, frame, port)
        if _is_later_piece(world, quoted):
            return Fate(BAD if kind == 2 and rest < 1280 else NOTED), []
        overhead, inner = _quoted(world, quoted, now_s)
    except (NotOursError, oracle.DroppedError):
        return Fate(BAD), []
    except LaterPieceError:
        return Fate(BAD if kind == 2 and rest < 1280 else NOTED), []
    if kind == 2:
        if rest < 1280:
            return Fate(BAD), []
        error = ("SENT_RELAYED_TOO_BIG", 3, 4, min(rest - overhead, _tunnel_mtu(world)))
        told = bool(inner[6] & 0x40)
    else:
        at_limit = quoted[6] == 60 and quoted[42:44] == b"\x04\x01" and rest == 44
        told = kind == 1 or (kind, code) == (3, 0) or (kind == 4 and at_limit)
        error = ("SENT_RELAYED_UNREACHABLE", 3, 1, 0)
    to_us = IPv4Address(inner[12:16]) == world.rules.tep4
    if not told or to_us or world.rules.tep4 is None or not world.icmp.relay:
        return Fate(NOTED), []
    return Fate(PASSED_ON), _error(world, error, inner, now_s)


def _tunnel_mtu(world: World) -> int:
    """R17."""
    return world.rules.path_mtu - (40 if world.rules.encapsulation_limit is None else 48)


def _is_later_piece(world: World, quoted: bytes) -> bool:
    """R22: whether a fragment to a client is quoted that says nothing of what is inside."""
    if len(quoted) < 40 or quoted[0] >> 4 != 6:
        return False
    next_header, body = oracle.skip_options(quoted[6], quoted[40:])
    if next_header != 44 or len(body) < 8 or int.from_bytes(body[2:4], "big") >> 3 == 0:
        return False
    holders = [spec for held in world.shared.values() for spec in held.holders.values()]
    clients = {spec.client6.packed for spec in (*world.bindings.values(), *holders)}
    teps = {tep6.packed for tep6 in world.rules.tep6}
    return quoted[8:24] in teps and quoted[24:40] in clients


def _message(world: World, frame: bytes, port: int) -> tuple[int, int, int, bytes]:
    _, octets = oracle.link(frame, world.ports[port].vlan)
    _, message = oracle.skip_options(
        octets[6], octets[40 : 40 + int.from_bytes(octets[4:6], "big")]
    )
    pseudo = octets[8:40] + struct.pack("!II", len(message), 58)
    _believe(len(message) >= 8 and oracle.checksum(pseudo + message) == 0)
    kind, code, _, rest = struct.unpack_from("!BBHI", message)
    return kind, code, rest, message[8:]


def _quoted(world: World, quoted: bytes, now_s: int) -> tuple[int, bytes]:
    """Octets before the IPv4 packet, and what there is of that, if we may have sent it."""
    _believe(len(quoted) >= 40 and quoted[0] >> 4 == 6)
    next_header, body = oracle.skip_options(quoted[6], quoted[40:])
    if next_header == 44:
        _believe(len(body) >= 8)
        if int.from_bytes(body[2:4], "big") >> 3:
            _believe(_between_us(world, quoted))
            raise LaterPieceError
        next_header, body = oracle.skip_options(body[0], body[8:])
    _believe(next_header == 4 and len(body) >= 20)
    header_len, total_len = (body[0] & 15) * 4, int.from_bytes(body[2:4], "big")
    _believe(body[0] >> 4 == 4 and 20 <= header_len <= min(total_len, len(body) - 8))
    holder = _holder(world, body[:total_len])
    if holder is None or holder.expires <= now_s:
        raise NotOursError
    _believe(quoted[8:24] == world.rules.tep6[holder.tep].packed)
    _believe(quoted[24:40] == holder.client6.packed)
    return len(quoted) - len(body), body[:total_len]


def _between_us(world: World, quoted: bytes) -> bool:
    """Whether a tunnel packet went from one of our end points to a client."""
    holders = [*world.bindings.values()]
    holders += [spec for shared in world.shared.values() for spec in shared.holders.values()]
    clients = {spec.client6.packed for spec in holders}
    return quoted[8:24] in {tep.packed for tep in world.rules.tep6} and quoted[24:40] in clients


def _holder(world: World, packet: bytes) -> BindingSpec | None:
    """Who holds the destination of a packet that may have been cut."""
    dst = IPv4Address(packet[16:20])
    if dst not in world.shared:
        return world.bindings.get(dst)
    key = oracle_ports.quoted_key(packet, packet[16:20], towards_client=False)
    return None if isinstance(key, str) else oracle_ports.holder(world.shared[dst], key)


def _believe(condition: object) -> None:
    if not condition:
        raise NotOursError
