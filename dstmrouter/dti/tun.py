"""TUN devices (Documentation/networking/tuntap.rst): packets of one interface as reads and writes.

The device is not persistent: it lives as long as its file descriptor, so a killed client leaves
none behind.
"""

from __future__ import annotations

import os
import struct
from fcntl import ioctl
from typing import Final

from dstmrouter.errors import SystemCallError

# linux/if_tun.h
TUNSETIFF: Final = 0x400454CA
IFF_TUN: Final = 0x0001
IFF_NO_PI: Final = 0x1000
IFF_VNET_HDR: Final = 0x4000
IFF_TUN_EXCL: Final = 0x8000
IFREQ: Final = struct.Struct("16sH22x")

# linux/virtio_net.h, struct virtio_net_hdr: flags, gso_type, hdr_len, gso_size, csum_start, offset
VNET: Final = struct.Struct("=BBHHHH")
NEEDS_CSUM: Final = 1
PLAIN: Final = bytes(VNET.size)


def open_tun(name: str) -> int:
    """Create the device `name` and return its non-blocking descriptor.

    Each packet read or written follows a `VNET` header. An existing device is never taken over
    (IFF_TUN_EXCL). Raises SystemCallError.
    """
    tried = f"create TUN device {name}"
    try:
        fd = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        raise SystemCallError(tried, error.errno or 0, f"/dev/net/tun: {error.strerror}") from error
    try:
        flags = IFF_TUN | IFF_NO_PI | IFF_VNET_HDR | IFF_TUN_EXCL
        ioctl(fd, TUNSETIFF, IFREQ.pack(name.encode(), flags))
    except OSError as error:
        os.close(fd)
        raise SystemCallError(tried, error.errno or 0, error.strerror or "") from error
    return fd


def needs_checksum(start: int, offset: int) -> bytes:
    """Header for a packet whose sum from `start` the host must complete at `start + offset`."""
    return VNET.pack(NEEDS_CSUM, 0, 0, 0, start, offset)
