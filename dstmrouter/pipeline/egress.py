"""Writing the headers that leave: templates per port, filled in by columns (rules R5-R8).

Whatever is constant is prepared when a port changes: Ethernet source and type or tag, next header,
hop limit and tep6. A burst copies the template and sets what differs by packet. The link header
always takes the 18 octets before the IP header; of an untagged port the first four are not sent.
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


class PortWriter:
    """Writes link headers, and link and IPv6 headers, for one port."""

    def __init__(self, memory: FrameMemory, port: np.void, rules: TunnelRules) -> None:
        self._memory = memory
        tagged = bool(port["vlan"])
        header, at = (ether.TAGGED, 0) if tagged else (ether.HEADER, _UNTAGGED_AT)
        self.link_len = header.itemsize
        self.mtu = int(port["mtu"])
        self._plain = _link(header, at, LINK_LEN)
        self._tunnel = _link(header, at, _TUNNEL_LEN, ipv6=LINK_LEN)
        self._plain_template = self._template(self._plain, port, ether.ETHERTYPE_IPV4, 1)
        self._tunnel_templates = self._template(
            self._tunnel, port, ether.ETHERTYPE_IPV6, len(rules.tep6)
        )
        outer = self._tunnel_templates["ipv6"]
        outer["next_header"] = ipv6.NEXT_IPV4
        outer["hop_limit"] = rules.hop_limit
        outer["src"] = np.frombuffer(b"".join(a.packed for a in rules.tep6), "<u8").reshape(-1, 2)
        self._opaque_tunnel_templates = self._tunnel_templates.view(f"V{_TUNNEL_LEN}")

    @staticmethod
    def _template(dtype: np.dtype[np.void], port: np.void, ethertype: int, rows: int) -> Records:
        template = np.zeros(rows, dtype)
        template["link_src"] = port["mac"]
        template["link_type"] = ethertype
        if port["vlan"]:
            template["link_tpid"] = ether.ETHERTYPE_VLAN
            template["link_tci"] = port["vlan"]
        return template

    def write_link(self, at: Index, macs: Records) -> None:
        """Put Ethernet headers for IPv4 before the packets at `at`; `macs` has dtype V6."""
        headers = np.repeat(self._plain_template, len(at))
        headers["link_dst"] = macs
        self._memory.write(at - LINK_LEN, headers)

    def write_tunnel(
        self,
        at: Index,
        macs: Records,
        clients: Records,
        vtc_flow: npt.NDArray[np.uint32],
        total_len: npt.NDArray[np.int64],
    ) -> None:
        """Put Ethernet and IPv6 headers before the packets at `at`; `clients` has dtype ROW."""
        headers = self._opaque_tunnel_templates.take(clients["tep"]).view(self._tunnel)
        headers["link_dst"] = macs
        outer = headers["ipv6"]
        outer["vtc_flow"] = vtc_flow
        outer["payload_len"] = total_len
        outer["dst"] = clients["client6"]
        self._memory.write(at - _TUNNEL_LEN, headers)
