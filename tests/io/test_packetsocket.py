"""What opening and closing leaves behind, and what is told when it fails."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from dstmrouter.errors import DstmError, SystemCallError
from dstmrouter.io.packetmmap import PacketMmapConfig, PacketMmapPort
from tests.io.packet_fixtures import (
    SMALL,
    needs_root,
    umem,
    veth,
)

if TYPE_CHECKING:
    from dstmrouter.io.umem import Umem

__all__ = ["umem", "veth"]  # fixtures
pytestmark = [pytest.mark.netns, needs_root]


def test_close_twice_leaves_no_socket(veth: tuple[str, str], umem: Umem) -> None:
    def sockets() -> int:
        return len(Path("/proc/thread-self/net/packet").read_text().splitlines()) - 1

    before = sockets()
    port = PacketMmapPort.open(veth[0], umem, SMALL)
    assert sockets() == before + 2
    port.close()
    port.close()
    assert sockets() == before  # a ring that is still mapped would keep its socket alive
    assert port.fileno() == -1


def test_what_cannot_be_opened_is_told_and_leaves_nothing(
    veth: tuple[str, str], umem: Umem
) -> None:
    with pytest.raises(SystemCallError, match="bind on absent: No such device"):
        PacketMmapPort.open("absent", umem, SMALL)
    with pytest.raises(DstmError, match=r"lo is no Ethernet interface \(ARPHRD type 772\)"):
        PacketMmapPort.open("lo", umem, SMALL)
    with closing(PacketMmapPort.open(veth[0], umem, PacketMmapConfig(fanout_group=5))):
        other = PacketMmapConfig(fanout_group=5, fanout_type="cpu")
        with pytest.raises(SystemCallError, match=r"setsockopt\(263, 18\) on near: Invalid"):
            PacketMmapPort.open(veth[0], umem, other)
    assert len(Path("/proc/thread-self/net/packet").read_text().splitlines()) == 1
