"""`[rpc]` of `server.toml`: ONC RPC for clients."""

from __future__ import annotations

from ipaddress import AddressValueError, IPv6Address
from typing import TYPE_CHECKING, Annotated, Literal, TypeAlias

from dstmrouter.config.checks import Misfit, Several, counted, parsed, seconds, whole
from dstmrouter.config.model import Section, repeated

if TYPE_CHECKING:
    from collections.abc import Iterator


def _local6(value: str) -> IPv6Address:
    address = IPv6Address(value)
    if address.scope_id is not None or address.is_link_local or address.is_multicast:
        raise AddressValueError
    return address


Local6: TypeAlias = Annotated[
    IPv6Address,
    parsed(IPv6Address, _local6, "an IPv6 address of this host, or :: (not link-local)"),
]


class RpcSection(Section):
    """`[rpc]`: where to listen, and what callers may take of us."""

    listen: Annotated[Several[Local6], counted(1, 16, "IPv6 addresses")] = (IPv6Address("::"),)
    port: Annotated[int, whole(0, 65535)] = 3654
    udp: bool = True
    # Site-local numbers, RFC 5531 section 13.
    program: Annotated[int, whole(0x20000000, 0x3FFFFFFF)] = 0x2000D573
    rpcbind: Literal["auto", "off", "required"] = "auto"
    mtu: Annotated[int, whole(1240, 65495, "octets")] = 1460
    record_octets: Annotated[int, whole(2048, 65536, "octets")] = 4096
    idle_s: Annotated[float, seconds(0.1, 86400)] = 60.0
    # Half of the 1,024 descriptors that a process has by default: the store needs some, too.
    connections: Annotated[int, whole(1, 100000)] = 512
    per_64: Annotated[int, whole(1, 100000)] = 16
    calls: Annotated[int, whole(1, 100000)] = 256

    def misfits(self) -> Iterator[Misfit]:
        """Refuse the same address twice, and several addresses with a port each."""
        yield from repeated(self.listen, ("listen",))
        if not self.port and len(self.listen) > 1:
            yield ("port",), "a port from 1 on, for all addresses of listen"
