"""What must become of a packet: one at a time, plain Python, checksums summed anew.

Written from the RFCs and shares nothing with the pipeline but the names of verdicts and, for flow
labels, the formula that `dstmrouter.pipeline.flow` states. When a packet breaks several rules, the
one that stands first here names its fate.
"""

from __future__ import annotations

import dataclasses
import struct
from ipaddress import IPv4Address, IPv6Address
from typing import TYPE_CHECKING

from tests import oracle_ports, oracle_wire
from tests.oracle_fragments import fragments4, fragments6
from tests.oracle_tables import ECN_AT_EXIT, MARTIANS, STATE_VERDICTS

if TYPE_CHECKING:
    from tests.pipeline.worlds import BindingSpec, HopSpec, PortSpec, SharedSpec, World

checksum, summed = oracle_wire.checksum, oracle_wire.summed


@dataclasses.dataclass(frozen=True)
class Fate:
    verdict: str
    port: int | None = None
    frame: bytes | None = None
    more: tuple[bytes, ...] = ()  # all pieces but the first, of what is cut


class DroppedError(Exception):
    """The argument is the name of the verdict."""


def fate(world: World, frame: bytes, port: int, now_s: int) -> Fate:
    """What becomes of one frame that came in by `port`."""
    try:
        return _forward(world, frame, world.ports[port], now_s)
    except DroppedError as dropped:
        return Fate(str(dropped))


def why_not_v4(octets: bytes) -> str:
    """The verdict of an IPv4 packet that breaks R1, or nothing."""
    try:
        _v4(octets)
    except DroppedError as dropped:
        return str(dropped)
    return ""


@dataclasses.dataclass
class _V4:
    octets: bytearray  # up to total length

    @property
    def header_len(self) -> int:
        return (self.octets[0] & 15) * 4

    @property
    def src(self) -> IPv4Address:
        return IPv4Address(bytes(self.octets[12:16]))

    @property
    def dst(self) -> IPv4Address:
        return IPv4Address(bytes(self.octets[16:20]))

    @property
    def fragment(self) -> bool:
        return int.from_bytes(self.octets[6:8], "big") & 0x3FFF != 0

    @property
    def dont_fragment(self) -> bool:
        return bool(self.octets[6] & 0x40)

    def summed(self) -> bytes:
        """The packet with its header checksum computed anew."""
        return summed(bytes(self.octets))


def _require(condition: object, verdict: str) -> None:
    if not condition:
        raise DroppedError(verdict)


def _forward(world: World, frame: bytes, port: PortSpec, now_s: int) -> Fate:
    ethertype, packet = link(frame, port.vlan)
    if ethertype == 0x0800:
        return _tunnel(world, _v4(packet), now_s, "ENCAPSULATED")
    inner, verdict = _decapsulated(world, packet, now_s)
    if inner.dst == world.rules.tep4:
        _require(_is_echo_request(inner), "DROP_LOCAL")
        return _tunnel(world, _echo_reply(inner), now_s, "ECHO_ANSWERED", own=True)
    if any(inner.dst in pool for pool in world.pools):
        _require(world.rules.hairpin, "DROP_HAIRPIN_OFF")
        return _tunnel(world, inner, now_s, "HAIRPINNED")
    return _routed(world, inner, verdict)


def link(frame: bytes, vlan: int | None) -> tuple[int, bytes]:
    _require(len(frame) >= 14, "DROP_NOT_IP")
    ethertype, packet, vid = int.from_bytes(frame[12:14], "big"), frame[14:], 0
    if ethertype == 0x8100:
        _require(len(frame) >= 18, "DROP_NOT_IP")
        vid = int.from_bytes(frame[14:16], "big") & 0xFFF
        ethertype, packet = int.from_bytes(frame[16:18], "big"), frame[18:]
    _require(vid == (vlan or 0), "DROP_VLAN")
    _require(ethertype in {0x0800, 0x86DD}, "DROP_NOT_IP")
    return ethertype, packet


def _v4(octets: bytes) -> _V4:
    """R1."""
    _require(len(octets) >= 20, "DROP_V4_MALFORMED")
    version, words = octets[0] >> 4, octets[0] & 15
    total_len = int.from_bytes(octets[2:4], "big")
    fits = words * 4 <= total_len <= len(octets)
    _require(version == 4 and words >= 5 and fits, "DROP_V4_MALFORMED")
    _require(checksum(octets[: words * 4]) == 0, "DROP_V4_CHECKSUM")
    packet = _V4(bytearray(octets[:total_len]))
    martian = any(a in net for a in (packet.src, packet.dst) for net in MARTIANS)
    _require(not martian, "DROP_V4_MARTIAN")
    return packet


def _decapsulated(world: World, octets: bytes, now_s: int) -> tuple[_V4, str]:
    """R11, R1, R12, R14."""
    _require(len(octets) >= 40 and octets[0] >> 4 == 6, "DROP_V6_MALFORMED")
    payload_len, next_header = struct.unpack_from("!HB", octets, 4)
    _require(40 + payload_len <= len(octets), "DROP_V6_MALFORMED")
    src, dst = IPv6Address(octets[8:24]), IPv6Address(octets[24:40])
    _require(dst in world.rules.tep6, "DROP_NOT_TEP6")
    inner = _v4(_behind_options(next_header, octets[40 : 40 + payload_len]))
    _check_source(world, inner, src, now_s)
    outer_class = (octets[0] & 15) << 4 | octets[1] >> 4
    tos = inner.octets[1]
    ecn, unusual = ECN_AT_EXIT[tos & 3, outer_class & 3]
    if ecn is None:
        raise DroppedError("DROP_ECN_CE")
    dscp_from = outer_class if world.rules.dscp_uniform else tos
    inner.octets[1] = dscp_from & 0xFC | ecn
    return inner, "DECAPSULATED_ECN_ODD" if unusual else "DECAPSULATED"


def _check_source(world: World, inner: _V4, src: IPv6Address, now_s: int) -> None:
    """R12."""
    if inner.src in world.shared:
        holder = _sharer(world.shared[inner.src], inner, towards_client=False)
        right = holder is not None and holder.expires > now_s and holder.client6 == src
        _require(right, "DROP_SPOOF_PORT")
        return
    holder = world.bindings.get(inner.src)
    _require(holder is not None and holder.expires > now_s, "DROP_SPOOF_ADDRESS")
    _require(holder is not None and holder.client6 == src, "DROP_SPOOF_CLIENT")


def _behind_options(next_header: int, rest: bytes) -> bytes:
    """R11."""
    next_header, rest = skip_options(next_header, rest)
    _require(next_header != 44, "DROP_OUTER_FRAGMENT")
    _require(next_header != 58, "DROP_ICMPV6")
    _require(next_header == 4, "DROP_NOT_TUNNEL")
    return rest


def skip_options(next_header: int, rest: bytes) -> tuple[int, bytes]:
    """At most four options headers; hop-by-hop options only in front (RFC 8200 4.1)."""
    for number in range(4):
        if next_header not in ({0, 60} if number == 0 else {60}):
            break
        _require(len(rest) >= 8, "DROP_NOT_TUNNEL")
        octets = 8 + rest[1] * 8
        _require(octets <= len(rest), "DROP_NOT_TUNNEL")
        next_header, rest = rest[0], rest[octets:]
    return next_header, rest


def _is_echo_request(packet: _V4) -> bool:
    plain = packet.header_len == 20 and not packet.fragment and packet.octets[9] == 1
    return plain and len(packet.octets) >= 28 and packet.octets[20:22] == b"\x08\x00"


def _echo_reply(packet: _V4) -> _V4:
    """The reply to a damaged request is as damaged: RFC 1624 equation 3, never a zero sum."""
    octets = packet.octets
    octets[12:16], octets[16:20] = octets[16:20], octets[12:16]
    octets[8] = 64
    octets[20] = 0
    before = int.from_bytes(octets[22:24], "big")
    total = (~before & 0xFFFF) + (~0x0800 & 0xFFFF)
    total = (total & 0xFFFF) + (total >> 16)
    octets[22:24] = ((~total & 0xFFFF) or 0xFFFF).to_bytes(2, "big")
    return packet


def _tunnel(world: World, packet: _V4, now_s: int, verdict: str, *, own: bool = False) -> Fate:
    """R2-R8, R17, R18; the TTL of our own packets stays."""
    rules = world.rules
    if not own:
        _count_down(packet)
    binding = _binding(world, packet, now_s)
    limit = rules.encapsulation_limit
    mtu = rules.path_mtu - (40 if limit is None else 48)
    too_big = len(packet.octets) > mtu
    _require(not (too_big and packet.dont_fragment and rules.df_strict), "DROP_TOO_BIG")
    hop = _hop(world, binding.hop)
    pieces = [packet.summed()]
    if too_big and rules.fragment_inner and not packet.dont_fragment:
        pieces = _cut(pieces[0], mtu)
    outer = [oracle_wire.outer(world, binding, inner) for inner in pieces]
    if too_big and len(pieces) == 1:
        outer = fragments6(outer[0], rules.path_mtu)
    if len(outer) > 1 and verdict == "ENCAPSULATED":
        verdict = "FRAGMENTED"
    frames = [_ethernet(world, hop, 0x86DD) + piece for piece in outer]
    return Fate(verdict, hop.port, frames[0], tuple(frames[1:]))


def _binding(world: World, packet: _V4, now_s: int) -> BindingSpec:
    dst = packet.dst
    _require(dst != world.rules.tep4, "DROP_LOCAL")
    _require(any(dst in pool for pool in world.pools), "DROP_NOT_POOL")
    binding = world.bindings.get(dst)
    if dst in world.shared:
        binding = _sharer(world.shared[dst], packet, towards_client=True)
    if binding is None:
        raise DroppedError("DROP_NO_BINDING")
    _require(binding.expires > now_s, "DROP_NO_BINDING")
    return binding


def _sharer(shared: SharedSpec, packet: _V4, *, towards_client: bool) -> BindingSpec | None:
    """R2, R25, R27."""
    key = oracle_ports.key(bytes(packet.octets), towards_client=towards_client)
    if isinstance(key, str):
        raise DroppedError(key)
    return oracle_ports.holder(shared, key)


def _count_down(packet: _V4) -> None:
    """R4."""
    _require(packet.octets[8] > 1, "DROP_TTL")
    packet.octets[8] -= 1


def originate(world: World, packet: bytes, now_s: int, verdict: str) -> Fate | None:
    """What becomes of a packet of our own; None if it has no way."""
    own = _V4(bytearray(packet))
    try:
        if own.dst == world.rules.tep4 or any(own.dst in pool for pool in world.pools):
            return _tunnel(world, own, now_s, verdict, own=True)
        return _routed(world, own, verdict, own=True)
    except DroppedError:
        return None


def _routed(world: World, packet: _V4, verdict: str, *, own: bool = False) -> Fate:
    """R15; the TTL of our own packets stays."""
    if not own:
        _count_down(packet)
    nets = [net for net in world.routes if packet.dst in net]
    _require(nets, "DROP_UNREACHABLE")
    hop = _hop(world, world.routes[max(nets, key=lambda net: net.prefixlen)])
    mtu = world.ports[hop.port].mtu
    pieces = [packet.summed()]
    if len(pieces[0]) > mtu:
        _require(not packet.dont_fragment, "DROP_TOO_BIG_V4")
        pieces = _cut(pieces[0], mtu)
    first, *more = [_ethernet(world, hop, 0x0800) + piece for piece in pieces]
    return Fate(verdict, hop.port, first, tuple(more))


def _cut(packet: bytes, mtu: int) -> list[bytes]:
    """R18; offsets end at octet 65,535."""
    start = int.from_bytes(packet[6:8], "big") % 0x2000 * 8
    _require(start + len(packet) <= 65535, "DROP_V4_MALFORMED")
    return [summed(piece) for piece in fragments4(packet, mtu)]


def _hop(world: World, number: int) -> HopSpec:
    hop = world.hops[number]
    _require(hop.state == "resolved", STATE_VERDICTS.get(hop.state, ""))
    return hop


def _ethernet(world: World, hop: HopSpec, ethertype: int) -> bytes:
    port = world.ports[hop.port]
    tag = b"" if port.vlan is None else struct.pack("!HH", 0x8100, port.vlan)
    return hop.mac + port.mac + tag + struct.pack("!H", ethertype)
