"""The host's IPv6 addresses, and which of them a tunnel should last on.

An address that the kernel prefers for connections may be a temporary one (RFC 8981), which goes
after a day. A tunnel wants a lasting one of the same interface.
"""

from __future__ import annotations

import dataclasses
import socket
from ipaddress import IPv6Address
from typing import TYPE_CHECKING, Final

from dstmrouter.io import rtnetlink
from dstmrouter.io.kernelobjects import Part

if TYPE_CHECKING:
    from collections.abc import Sequence

# include/uapi/linux/if_addr.h
IFA_F_TEMPORARY: Final = 0x01
IFA_F_DADFAILED: Final = 0x08
IFA_F_DEPRECATED: Final = 0x20
IFA_F_TENTATIVE: Final = 0x40
IFA_F_OPTIMISTIC: Final = 0x04
ANY_PORT: Final = 9  # nothing is sent


@dataclasses.dataclass(frozen=True, slots=True)
class Address6:
    """An address of this host that is more than link-local; `flags` are IFA_F_*."""

    address: IPv6Address
    ifindex: int
    flags: int = 0

    @property
    def usable(self) -> bool:
        """Whether it may be a source."""
        tentative = self.flags & IFA_F_TENTATIVE and not self.flags & IFA_F_OPTIMISTIC
        return not tentative and not self.flags & IFA_F_DADFAILED

    @property
    def deprecated(self) -> bool:
        """Whether something new should not begin on it (RFC 4862 section 5.5.4)."""
        return bool(self.flags & IFA_F_DEPRECATED)

    @property
    def temporary(self) -> bool:
        """Whether it goes soon."""
        return bool(self.flags & IFA_F_TEMPORARY)


def addresses6() -> list[Address6]:
    """All of this host; raises SystemCallError."""
    found = []
    for message in rtnetlink.dump(Part.ADDRESSES):
        if message["header"]["type"] != rtnetlink.RTM_NEWADDR:
            continue
        if message["family"] != socket.AF_INET6:
            continue
        address = IPv6Address(message.get_attr("IFA_ADDRESS"))
        if not (address.is_link_local or address.is_loopback):
            flags = message.get_attr("IFA_FLAGS")
            found.append(
                Address6(address, message["index"], message["flags"] if flags is None else flags)
            )
    return found


def kernel_source(target: IPv6Address, interface: str | None = None) -> IPv6Address | None:
    """The address that the kernel would send from to `target`; None if there is no route."""
    with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as sock:
        try:
            if interface is not None:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, interface.encode())
            sock.connect((str(target), ANY_PORT))
            address = IPv6Address(sock.getsockname()[0].partition("%")[0])
        except OSError:
            return None
    return None if address.is_link_local else address


def lasting_source(
    found: Sequence[Address6], preferred: IPv6Address, current: IPv6Address | None
) -> IPv6Address | None:
    """The address to use where the kernel would use `preferred`; `current` as long as it is good.

    Of the usable addresses of the same interface: lasting before temporary, valid before
    deprecated, then the most like `preferred` (RFC 6724 rule 8), which is itself if it is lasting.
    """
    at = {one.ifindex for one in found if one.address == preferred}
    ours = [one for one in found if one.ifindex in at and one.usable]
    if any(one.address == current and not one.deprecated for one in ours):
        return current
    ranked = sorted(
        ours, key=lambda one: (one.deprecated, one.temporary, _unlike(one.address, preferred))
    )
    return ranked[0].address if ranked else None


def _unlike(one: IPv6Address, other: IPv6Address) -> int:
    """Number of bits from the first difference on."""
    return (int(one) ^ int(other)).bit_length()
