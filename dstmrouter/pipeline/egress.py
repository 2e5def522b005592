"""Writing the headers that leave: templates per port, filled in by columns (rules R5-R8).

Whatever is constant is prepared when a port changes: Ethernet source and type or tag, next header,
hop limit and tep6. A burst sets what differs by packet. The link header always takes the 18 octets
before the IP header; of an untagged port the first four are not sent.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np
import numpy.typing as npt

from dstmrouter.pipeline.rules import TUNNEL_HEADER_LEN, TunnelRules
from dstmrouter.wire import ether, ipv6

if TYPE_CHECKING:
    from dstmrouter.pipeline.memory import FrameMemory, Index, Records

LINK_LEN: Final = ether.TAGGED_LEN
_UNTAGGED_AT: Final = ether.TAGGED_LEN - ether.HEADER_LEN


def _link(header: np.dtype[np.void], at: int, itemsize: int, **more: int) -> np.dtype[np.void]:
    """A record of `itemsize` octets with the fields of `header` at `at`, and IPv6 at `more`."""
    fields = dict(header.fields or {})
    names = [f"link_{name}" for name in fields]
    formats = [fields[name][0] for name in fields]
    offsets = [at + fields[name][1] for name in fields]
    for name, position in more.items():
        names.append(name)
        formats.append(ipv6.HEADER)
        offsets.append(position)
    return np.dtype({"names": names, "formats": formats, "offsets": offsets, "itemsize": itemsize})


_TUNNEL_LEN: Final = LINK_LEN + TUNNEL_HEADER_LEN
_BEFORE: Final = np.intp(_TUNNEL_LEN)
_LINK_LEN: Final = np.intp(LINK_LEN)
ROWS: Final = 1024  # packets of a burst; for a larger one the records are made anew


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
        self._plain = _link(header, at, LINK_LEN)
        self._tunnel = _link(header, at, _TUNNEL_LEN, ipv6=LINK_LEN)
        self._prepare(ROWS)

    def _prepare(self, rows: int) -> None:
        """Make records for bursts of up to `rows` packets."""
        self._rows = rows
        self._links = self._template(self._plain, ether.ETHERTYPE_IPV4)
        self._opaque_links = self._links.view(f"V{LINK_LEN}")
        self._tunnels = self._template(self._tunnel, ether.ETHERTYPE_IPV6)
        self._opaque_tunnels = self._tunnels.view(f"V{_TUNNEL_LEN}")
        self._outer = self._tunnels["ipv6"]
        self._outer["next_header"] = ipv6.NEXT_IPV4
        self._outer["hop_limit"] = self._rules.hop_limit
        self._outer["src"] = self._teps[0]

    def _template(self, dtype: np.dtype[np.void], ethertype: int) -> Records:
        template = np.zeros(self._rows, dtype)
        template["link_src"] = self._port["mac"]
        template["link_type"] = ethertype
        if self._port["vlan"]:
            template["link_tpid"] = ether.ETHERTYPE_VLAN
            template["link_tci"] = self._port["vlan"]
        return template

    def write_link(self, at: Index, macs: Records) -> None:
        """Put Ethernet headers for IPv4 before the packets at `at`; `macs` has dtype V6."""
        n = len(at)
        if n > self._rows:
            self._prepare(n)
        self._links["link_dst"][:n] = macs
        self._memory.records(LINK_LEN)[at - _LINK_LEN] = self._opaque_links[:n]

    def write_tunnel(
        self,
        at: Index,
        macs: Records,
        clients: Records,
        vtc_flow: npt.NDArray[np.uint32],
        total_len: npt.NDArray[np.int64],
    ) -> None:
        """Put Ethernet and IPv6 headers before the packets at `at`; `clients` has dtype ROW."""
        n = len(at)
        if n > self._rows:
            self._prepare(n)
        outer = self._outer
        self._tunnels["link_dst"][:n] = macs
        outer["vtc_flow"][:n] = vtc_flow
        outer["payload_len"][:n] = total_len
        outer["dst"][:n] = clients["client6"]
        if len(self._teps) > 1:
            outer["src"][:n] = self._teps.take(clients["tep"], axis=0)
        self._memory.records(_TUNNEL_LEN)[at - _BEFORE] = self._opaque_tunnels[:n]
