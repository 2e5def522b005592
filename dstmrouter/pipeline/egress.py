"""Writing the headers that leave: records per port, filled in by columns (rules R5-R8).

Whatever is constant is prepared when a port changes: Ethernet source and type or tag, next header,
hop limit and tep6. A burst sets what differs by packet. The link header always takes the 18 octets
before the IP header; of an untagged port the first four are not sent.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Final

import numpy as np
import numpy.typing as npt

from dstmrouter.pipeline.rules import TUNNEL_HEADER_LEN, TunnelRules
from dstmrouter.wire import ether, ipv4, ipv6
from dstmrouter.wire.constant import constant

if TYPE_CHECKING:
    from dstmrouter.pipeline.memory import FrameMemory, Index, Records

LINK_LEN: Final = ether.TAGGED_LEN
ROWS: Final = 1024  # packets of a burst; for a larger one the records are made anew
_UNTAGGED_AT: Final = ether.TAGGED_LEN - ether.HEADER_LEN
_INNER: Final = np.dtype(f"V{ipv4.HEADER_LEN}")
_INNER_AT: Final = LINK_LEN + TUNNEL_HEADER_LEN
_PLAIN_LEN: Final = LINK_LEN + ipv4.HEADER_LEN
_TUNNEL_LEN: Final = _INNER_AT + ipv4.HEADER_LEN
_LINK_LEN: Final = constant(LINK_LEN, np.intp)
_BEFORE: Final = constant(_INNER_AT, np.intp)


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
    inner: Records  # first 20 octets of the IPv4 packets, dtype V20


class PortWriter:
    """Writes link headers, and link and IPv6 headers, for one port.

    The records it fills are kept between bursts: what is constant in them is written once.
    """

    def __init__(self, memory: FrameMemory, port: np.void, rules: TunnelRules) -> None:
        self._memory = memory
        header, at = (ether.TAGGED, 0) if port["vlan"] else (ether.HEADER, _UNTAGGED_AT)
        self.link_len = header.itemsize
        self._port = port
        self._rules = rules
        self._teps = np.frombuffer(b"".join(a.packed for a in rules.tep6), "<u8").reshape(-1, 2)
        self._bare = _record(header, at)
        self._plain = _record(header, at, inner=(LINK_LEN, _INNER))
        self._tunnel = _record(header, at, ipv6=(LINK_LEN, ipv6.HEADER), inner=(_INNER_AT, _INNER))
        self._prepare(ROWS)

    def _prepare(self, rows: int) -> None:
        """Make records for bursts of up to `rows` packets."""
        self._rows = rows
        self._links = self._template(self._plain, ether.ETHERTYPE_IPV4, rows)
        self._opaque_links = self._links.view(f"V{_PLAIN_LEN}")
        self._tunnels = self._template(self._tunnel, ether.ETHERTYPE_IPV6, rows)
        self._opaque_tunnels = self._tunnels.view(f"V{_TUNNEL_LEN}")
        self._outer = self._tunnels["ipv6"]
        self._link_macs, self._link_inner = self._links["link_dst"], self._links["inner"]
        self._macs, self._inner = self._tunnels["link_dst"], self._tunnels["inner"]
        self._first_words, self._lengths = self._outer["vtc_flow"], self._outer["payload_len"]
        self._clients = self._outer["dst_octets"]
        self._outer["next_header"] = ipv6.NEXT_IPV4
        self._outer["hop_limit"] = self._rules.hop_limit
        self._outer["src"] = self._teps[0]

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
        self._link_macs[:n] = macs
        self._link_inner[:n] = inner
        self._memory.records(_PLAIN_LEN)[at - _LINK_LEN] = self._opaque_links[:n]

    def write_ethernet(self, at: Index, macs: Records, ethertype: int) -> None:
        """Put Ethernet headers before whatever is at `at`; `macs` has dtype V6. Rare packets'."""
        links = self._template(self._bare, ethertype, len(at))
        links["link_dst"] = macs
        self._memory.records(LINK_LEN)[at - _LINK_LEN] = links.view(f"V{LINK_LEN}")

    def write_tunnel(self, at: Index, total_len: npt.NDArray[np.int64], fill: TunnelFill) -> None:
        """Put Ethernet and IPv6 headers before the IPv4 packets at `at`, and write their own."""
        n = len(at)
        if n > self._rows:
            self._prepare(n)
        self._macs[:n] = fill.macs
        self._inner[:n] = fill.inner
        self._first_words[:n] = fill.vtc_flow
        self._lengths[:n] = total_len
        self._clients[:n] = fill.clients["client6_octets"]
        if len(self._teps) > 1:
            self._outer["src"][:n] = self._teps.take(fill.clients["tep"], axis=0)
        self._memory.records(_TUNNEL_LEN)[at - _BEFORE] = self._opaque_tunnels[:n]
