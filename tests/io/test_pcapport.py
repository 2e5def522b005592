from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from scapy.layers.inet import IP, UDP
from scapy.layers.l2 import Ether
from scapy.utils import rdpcap, wrpcap

from dstmrouter.errors import DstmError
from dstmrouter.io.pcapport import PcapPort
from tests.io.packet_fixtures import Worker, frame, umem

if TYPE_CHECKING:
    from pathlib import Path

    from dstmrouter.io.umem import Umem

__all__ = ["umem"]  # fixture
PACKETS = [
    bytes(
        Ether(src="02:00:00:00:00:01", dst="02:00:00:00:00:02")
        / IP(dst="192.0.2.1")
        / UDP()
        / bytes(i)
    )
    for i in range(0, 1200, 7)
]


@pytest.mark.parametrize("limit", [1, 5, 64])
def test_what_is_read_and_sent_is_written(tmp_path: Path, umem: Umem, limit: int) -> None:
    wrpcap(str(tmp_path / "in.pcap"), [Ether(p) for p in PACKETS])
    port = PcapPort(umem, "p", read=tmp_path / "in.pcap", write=tmp_path / "out.pcap")
    worker = Worker(umem, port)
    assert not port.exhausted
    while not port.exhausted:
        descs = worker.receive(port, limit)
        assert len(descs) <= limit
        assert worker.transmit(port, descs) == len(descs)
        worker.refill(port)
    port.close()
    port.close()
    assert [bytes(p) for p in rdpcap(str(tmp_path / "out.pcap"))] == PACKETS


def test_packets_are_read_only_when_there_are_frames_for_them(tmp_path: Path, umem: Umem) -> None:
    wrpcap(str(tmp_path / "in.pcap"), [Ether(p) for p in PACKETS])
    port = PcapPort(umem, "p", read=tmp_path / "in.pcap", write=None)
    assert len(port.receive(64)) == 0
    assert port.waiting == 0
    port.refill(umem.pool.take(10))
    assert len(port.receive(64)) == 10
    assert port.waiting == 0
    assert not port.exhausted


def test_too_long_packets_are_counted_and_left_out(tmp_path: Path, umem: Umem) -> None:
    packets = [frame(0, 60), frame(1, 9000), frame(2, 60)]
    wrpcap(str(tmp_path / "in.pcap"), [Ether(p) for p in packets])
    port = PcapPort(umem, "p", read=tmp_path / "in.pcap", write=None)
    worker = Worker(umem, port)
    assert worker.receive_all(port, 2) == [packets[0], packets[2]]
    assert port.statistics()["too_long"] == 1


def test_without_files_there_is_nothing(umem: Umem) -> None:
    port = PcapPort(umem, "p", read=None, write=None)
    worker = Worker(umem, port)
    assert len(worker.receive(port)) == 0
    assert port.exhausted


def test_bad_files_are_told(tmp_path: Path, umem: Umem) -> None:
    (tmp_path / "bad").write_bytes(b"x" * 100)
    port = PcapPort(umem, "p", read=tmp_path / "bad", write=None)
    Worker(umem, port)
    with pytest.raises(DstmError, match="bad: packet 0: unknown pcap format"):
        port.receive(64)
    with pytest.raises(DstmError, match="out: No such file or directory"):
        PcapPort(umem, "p", read=None, write=tmp_path / "absent" / "out")
