"""Writing the headers that leave: records per port, filled in by columns (rules R5-R9, R18).

Whatever is constant is prepared when a port changes: Ethernet source and type or tag, next header,
hop limit and tep6. A burst sets what differs by packet. The link header always takes the 20 octets
before the IP header; of a tagged port the first two are not sent, of an untagged one the first six.
"""

from __future__ import annotations

import dataclasses
from enum import Enum
from typing import TYPE_CHECKING, Final

import numpy as np
import numpy.typing as npt

from dstmrouter.pipeline.hops import same
from dstmrouter.pipeline.rules import LIMIT_OPTION_LEN, TunnelRules
from dstmrouter.wire import ether, ipv4, ipv6
from dstmrouter.wire.constant import constant

if TYPE_CHECKING:
    from dstmrouter.pipeline.memory import FrameMemory, Index, Records

LINK_LEN: Final = ether.TAGGED_LEN + 2  # two more: records of 80 octets take 6 ns, of 78 8
ROWS: Final = 1024  # packets of a burst; for a larger one the records are made anew
_LIMIT: Final = np.dtype(f"V{LIMIT_OPTION_LEN}")
_INNER: Final = np.dtype(f"V{ipv4.HEADER_LEN}")
_IPV6_END: Final = LINK_LEN + ipv6.HEADER_LEN
_PLAIN_LEN: Final = LINK_LEN + ipv4.HEADER_LEN
_LINK_LEN: Final = constant(LINK_LEN, np.intp)
_NO_MAC: Final = b""


def _record(
    link: np.dtype[np.void], at: int, **more: tuple[int, np.dtype[np.void]]
) -> np.dtype[np.void]:
    """A record with the fields of `link` at `at`, named link_*, and further ones."""
    fields = dict(link.fields or {})
    formats = {f"link_{name}": (at + fields[name][1], fields[name][0]) for name in fields} | more
    return np.dtype(
        {
            "names": list(formats),
            "formats": [form for _, form in formats.values()],
            "offsets": [offset for offset, _ in formats.values()],
        }
    )


@dataclasses.dataclass(slots=True)
class TunnelFill:
    """What differs by packet in the headers of a tunnel; columns of n packets."""

    macs: Records  # dtype V6
    clients: Records  # dtype bindings.ROW
    vtc_flow: npt.NDArray[np.uint64]  # first 32 bits of the IPv6 header
    inner: Records  # first 20 octets of what follows, dtype V20


@dataclasses.dataclass(slots=True)
class FragmentFill:
    """What differs by piece in fragment headers; columns of n pieces."""

    offset: npt.NDArray[np.int64]  # the whole field, flag included
    ids: npt.NDArray[np.uint32]


def _put_macs(column: Records, macs: Records, held: bytes) -> bytes:
    """Put the MAC addresses of a burst into the first records of `column`.

    `held` is the one that all records have from before, or nothing; return the same for next time.
    Where all packets go to one neighbour it is there already: that saves 3 us of 1,024.
    """
    if not same(macs):
        column[: len(macs)] = macs
        return _NO_MAC
    mac: bytes = macs[0].tobytes()
    if mac != held:
        column[:] = macs[0]
    return mac


class Form(Enum):
    """What stands between the IPv6 header and the rest of a packet into a tunnel."""

    WHOLE = "the encapsulation limit, if it is sent (R9)"
    FIRST = "a fragment header, then as for WHOLE"
    LATER = "a fragment header"


class PortWriter:
    """Writes link headers, and link and IPv6 headers, for one port.

    The records it fills are kept between bursts: what is constant in them is written once.
    """

    def __init__(
        self, memory: FrameMemory, port: np.void, rules: TunnelRules, form: Form = Form.WHOLE
    ) -> None:
        self._memory = memory
        header = ether.TAGGED if port["vlan"] else ether.HEADER
        self.link_len = header.itemsize
        self.before_plain = constant(header.itemsize, np.intp)
        """Octets before an IPv4 packet in its frame, shape (); the same for one in a tunnel:"""
        at = LINK_LEN - self.link_len
        self._port = port
        self._rules = rules
        self._teps = np.frombuffer(b"".join(a.packed for a in rules.tep6), "<u8").reshape(-1, 2)
        self._bare = _record(header, at)
        self._plain = _record(header, at, inner=(LINK_LEN, _INNER))
        more, end = {}, _IPV6_END
        if form is not Form.WHOLE:
            more["fragment"] = (end, ipv6.FRAGMENT)
            end += ipv6.FRAGMENT_LEN
        if form is not Form.LATER and rules.encapsulation_limit is not None:
            more["limit"] = (end, _LIMIT)
            end += LIMIT_OPTION_LEN
        self.tunnel_len = end - LINK_LEN  # octets from the IPv6 header to what is inside
        self.before_inner = constant(self.tunnel_len + self.link_len, np.intp)
        self._before = constant(end, np.intp)
        self._between = np.int64(end - _IPV6_END)
        self._tunnel_len = end + ipv4.HEADER_LEN
        self._tunnel = _record(
            header, at, ipv6=(LINK_LEN, ipv6.HEADER), **more, inner=(end, _INNER)
        )
        self._prepare(ROWS)

    def _prepare(self, rows: int) -> None:
        """Make records for bursts of up to `rows` packets."""
        self._rows = rows
        self._links = self._template(self._plain, ether.ETHERTYPE_IPV4, rows)
        self._opaque_links = self._links.view(f"V{_PLAIN_LEN}")
        self._tunnels = self._template(self._tunnel, ether.ETHERTYPE_IPV6, rows)
        self._opaque_tunnels = self._tunnels.view(f"V{self._tunnel_len}")
        self._outer = self._tunnels["ipv6"]
        self._link_macs, self._link_inner = self._links["link_dst"], self._links["inner"]
        self._macs, self._inner = self._tunnels["link_dst"], self._tunnels["inner"]
        self._first_words, self._lengths = self._outer["vtc_flow"], self._outer["payload_len"]
        self._clients = self._outer["dst_octets"]
        self._outer["next_header"] = self._prepare_between()
        self._outer["hop_limit"] = self._rules.hop_limit
        self._outer["src"] = self._teps[0]
        self._link_mac, self._tunnel_mac = _NO_MAC, _NO_MAC

    def _prepare_between(self) -> int:
        """Write what is constant behind the IPv6 header; return the number of the first header."""
        names, follows = self._tunnel.names or (), ipv6.NEXT_IPV4
        limit = self._rules.encapsulation_limit
        if limit is not None:
            option = bytearray(ipv6.LIMIT_OPTION)
            option[ipv6.LIMIT_AT] = limit
            follows = ipv6.NEXT_DESTINATION_OPTIONS
            if "limit" in names:
                self._tunnels["limit"] = np.void(bytes(option))
        if "fragment" in names:
            self._fragments = self._tunnels["fragment"]
            self._fragments["next_header"] = follows
            follows = ipv6.NEXT_FRAGMENT
        return follows

    def _template(self, dtype: np.dtype[np.void], ethertype: int, rows: int) -> Records:
        template = np.zeros(rows, dtype)
        template["link_src"] = self._port["mac"]
        template["link_type"] = ethertype
        if self._port["vlan"]:
            template["link_tpid"] = ether.ETHERTYPE_VLAN
            template["link_tci"] = self._port["vlan"]
        return template

    def write_link(self, at: Index, macs: Records, inner: Records) -> None:
        """Put Ethernet headers before the IPv4 packets at `at`, and write their own headers.

        `macs` has dtype V6, `inner` the first 20 octets of the packets, dtype V20.
        """
        n = len(at)
        if n > self._rows:
            self._prepare(n)
        self._link_mac = _put_macs(self._link_macs, macs, self._link_mac)
        self._link_inner[:n] = inner
        self._memory.records(_PLAIN_LEN)[at - _LINK_LEN] = self._opaque_links[:n]

    def write_ethernet(self, at: Index, macs: Records, ethertype: int) -> None:
        """Put Ethernet headers before whatever is at `at`; `macs` has dtype V6. Rare packets'."""
        links = self._template(self._bare, ethertype, len(at))
        links["link_dst"] = macs
        self._memory.records(LINK_LEN)[at - _LINK_LEN] = links.view(f"V{LINK_LEN}")

    def write_tunnel(
        self,
        at: Index,
        octets: npt.NDArray[np.int64],
        fill: TunnelFill,
        pieces: FragmentFill | None = None,
    ) -> None:
        """Put Ethernet and IPv6 headers before what is at `at`, `octets` long, and write its start.

        That is an IPv4 packet or, with `pieces`, a piece of it; these are for fragments alone.
        """
        n = len(at)
        if n > self._rows:
            self._prepare(n)
        self._tunnel_mac = _put_macs(self._macs, fill.macs, self._tunnel_mac)
        self._inner[:n] = fill.inner
        self._first_words[:n] = fill.vtc_flow
        self._lengths[:n] = octets if self._between == 0 else octets + self._between
        self._clients[:n] = fill.clients["client6_octets"]
        if len(self._teps) > 1:
            self._outer["src"][:n] = self._teps.take(fill.clients["tep"], axis=0)
        if pieces is not None:
            self._fragments["offset"][:n], self._fragments["id"][:n] = pieces.offset, pieces.ids
        self._memory.records(self._tunnel_len)[at - self._before] = self._opaque_tunnels[:n]
