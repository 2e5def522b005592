"""Whether the links of the ports, the packet memory and the tunnels fit each other.

A packet that a link may bring and a chunk cannot hold would vanish in the kernel, and no error
would tell its source: TCP connections through the gateway would hang. So a router does not start.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from dstmrouter.errors import DstmError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from dstmrouter.config.router import RouterConfig
    from dstmrouter.io.kernelobjects import Link


def check_links(config: RouterConfig, links: Mapping[int, Link]) -> None:
    """`links` are those of the ports, by number; DstmError names the first that does not do."""
    umem = config.umem
    for number, port in enumerate(config.port):
        interface = port.addressed_interface
        where = f"[[port]] #{number + 1} {interface}"
        if number not in links:
            raise DstmError(f"{where}: no such interface")
        if links[number].mtu > umem.max_mtu:
            raise DstmError(
                f"{where}: MTU {links[number].mtu}, expected at most {umem.max_mtu} with [umem] "
                f"chunk_size = {umem.chunk_size}: ip link set dev {interface} mtu {umem.max_mtu}"
            )
    largest = max(link.mtu for link in links.values())
    if config.tunnel.mtu > largest:
        wanted = f"at most {largest}, the largest MTU of a port"
        raise DstmError(f"[tunnel] mtu = {config.tunnel.mtu}: expected {wanted}")
