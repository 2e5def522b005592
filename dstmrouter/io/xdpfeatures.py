"""What a network device can do with XDP, as the kernel says it.

Generic netlink, family `netdev` (include/uapi/linux/netdev.h, since Linux 6.3). A veth device takes
XDP frames to send (`NDO_XMIT`) as long as its peer has an XDP program or GRO switched on, so the
answer can change while we run.
"""

from __future__ import annotations

import contextlib
import enum
import fcntl
import os
import socket
import struct
from typing import TYPE_CHECKING, Final

import numpy as np

from dstmrouter.errors import SystemCallError, asking_kernel
from dstmrouter.io.owner import Closing

if TYPE_CHECKING:
    from collections.abc import Iterator

_NETLINK_GENERIC: Final = 16
_CONTROLLER: Final = 16  # GENL_ID_CTRL, the family that knows the others
_GET_FAMILY, _FAMILY_ID, _FAMILY_NAME = 3, 1, 2  # CTRL_CMD_GETFAMILY, CTRL_ATTR_FAMILY_*
_DEV_GET, _DEV_IFINDEX, _DEV_XDP_FEATURES = 1, 1, 3  # NETDEV_CMD_DEV_GET, NETDEV_A_DEV_*
_NLM_F_REQUEST: Final = 1
_NLMSG_ERROR: Final = 2
_HEADER: Final = struct.Struct("=IHHIIBBxx")  # struct nlmsghdr, struct genlmsghdr
_ATTRIBUTE: Final = struct.Struct("=HH")  # length with this header, type
_ERROR: Final = struct.Struct("=i")
_SIOCETHTOOL: Final = 0x8946  # linux/sockios.h
_ETHTOOL_GDRVINFO: Final = 0x3  # linux/ethtool.h: command, then the driver's name of 32 octets
_DRIVER_LEN: Final = 196  # octets of struct ethtool_drvinfo
_ANSWER_LEN: Final = 1 << 13  # octets, more than any answer
_ANSWER_S: Final = 1.0  # the kernel answers within the call


class XdpFeature(enum.IntFlag):
    """netdev.h: enum netdev_xdp_act."""

    BASIC = 1 << 0
    REDIRECT = 1 << 1
    NDO_XMIT = 1 << 2  # takes XDP frames to send
    XSK_ZEROCOPY = 1 << 3


class XdpFeatures(Closing):
    """Asks the kernel about devices of the network namespace in which it was made."""

    def __init__(self) -> None:
        with asking_kernel("open a generic netlink socket"):
            self._sock = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, _NETLINK_GENERIC)
        self._sock.settimeout(_ANSWER_S)
        try:
            about = "find the netlink family netdev (Linux 6.3)"
            name = _attribute(_FAMILY_NAME, b"netdev\0")
            answer = self._ask(about, _CONTROLLER, _GET_FAMILY, name)
            self._family = int.from_bytes(answer[_FAMILY_ID], "little")
        except BaseException:
            self.close()
            raise

    def of(self, ifindex: int) -> XdpFeature:
        """What a device can do now; raises SystemCallError if there is none, or no answer."""
        about = f"ask for the XDP features of interface {ifindex}"
        wanted = _attribute(_DEV_IFINDEX, struct.pack("=I", ifindex))
        answer = self._ask(about, self._family, _DEV_GET, wanted)
        return XdpFeature(int.from_bytes(answer.get(_DEV_XDP_FEATURES, b""), "little"))

    def close(self) -> None:
        """Close the socket; harmless when repeated."""
        self._sock.close()

    def _ask(self, about: str, family: int, command: int, attribute: bytes) -> dict[int, bytes]:
        length = _HEADER.size + len(attribute)
        message = _HEADER.pack(length, family, _NLM_F_REQUEST, 0, 0, command, 1) + attribute
        with asking_kernel(about):
            self._sock.send(message)
            answer = self._sock.recv(_ANSWER_LEN)
        _, kind, *_ = _HEADER.unpack_from(answer)
        if kind == _NLMSG_ERROR:
            (error,) = _ERROR.unpack_from(answer, _HEADER.size - 4)  # in the place of genlmsghdr
            raise SystemCallError(about, -error, os.strerror(-error))
        return dict(_attributes(answer[_HEADER.size :]))


def may_take_frames(interface: str) -> bool:
    """Whether a device takes XDP frames to send, or may come to: veth does as its peer does."""
    return XdpFeature.NDO_XMIT in xdp_features(interface) or driver(interface) == "veth"


def driver(interface: str) -> str:
    """The name of a device's driver, as ethtool tells it; empty if there is none."""
    answer = np.zeros(_DRIVER_LEN, np.uint8)
    answer[:4] = np.frombuffer(struct.pack("=I", _ETHTOOL_GDRVINFO), np.uint8)
    request = struct.pack("16sQ16x", interface.encode(), answer.ctypes.data)
    with contextlib.suppress(OSError), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        fcntl.ioctl(sock, _SIOCETHTOOL, request)
        return answer[4:36].tobytes().partition(b"\0")[0].decode()
    return ""


def xdp_features(interface: str) -> XdpFeature:
    """What a device can do; nothing if there is none, or the kernel cannot tell."""
    with contextlib.suppress(SystemCallError, OSError), XdpFeatures() as features:
        return features.of(socket.if_nametoindex(interface))
    return XdpFeature(0)


def _attribute(kind: int, value: bytes) -> bytes:
    length = _ATTRIBUTE.size + len(value)
    return _ATTRIBUTE.pack(length, kind) + value.ljust(-(-len(value) // 4) * 4, b"\0")


def _attributes(octets: bytes) -> Iterator[tuple[int, bytes]]:
    """Kind and value of each; NLA_F_NESTED stays part of the kind."""
    while len(octets) >= _ATTRIBUTE.size:
        length, kind = _ATTRIBUTE.unpack_from(octets)
        yield kind, octets[_ATTRIBUTE.size : length]
        octets = octets[max(-(-length // 4) * 4, _ATTRIBUTE.size) :]
