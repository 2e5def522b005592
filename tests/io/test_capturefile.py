from __future__ import annotations

import contextlib
import struct
from pathlib import Path

import dpkt
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from scapy.layers.l2 import Ether
from scapy.packet import Raw
from scapy.utils import rdpcap, wrpcap, wrpcapng

from dstmrouter.errors import DstmError
from dstmrouter.io.capturefile import CaptureWriter, read_packets

SIZES = [60, 61, 62, 63, 64, 1514, 14]
PACKETS = [
    bytes(
        Ether(src="02:00:00:00:00:01", dst="02:00:00:00:00:02", type=0x88B5) / Raw(bytes([i]) * n)
    )
    for i, n in enumerate(SIZES)
]


def write_pcap(path: Path, *, nano: bool = False, big: bool = False) -> None:
    wrpcap(str(path), [Ether(p) for p in PACKETS], nano=nano, endianness=">" if big else "<")


@pytest.mark.parametrize("nano", [False, True])
@pytest.mark.parametrize("big", [False, True])
def test_reads_what_scapy_wrote(tmp_path: Path, nano: bool, big: bool) -> None:
    write_pcap(tmp_path / "a.pcap", nano=nano, big=big)
    assert list(read_packets(tmp_path / "a.pcap")) == PACKETS


def test_reads_pcapng_of_scapy(tmp_path: Path) -> None:
    wrpcapng(str(tmp_path / "a.pcapng"), [Ether(p) for p in PACKETS])
    assert list(read_packets(tmp_path / "a.pcapng")) == PACKETS


def test_reads_pcapng_of_dpkt(tmp_path: Path) -> None:
    with (tmp_path / "a.pcapng").open("wb") as file:
        writer = dpkt.pcapng.Writer(file)
        for packet in PACKETS:
            writer.writepkt(packet, ts=1.0)
    assert list(read_packets(tmp_path / "a.pcapng")) == PACKETS


def test_scapy_reads_what_was_written_with_time_as_the_number(tmp_path: Path) -> None:
    writer = CaptureWriter(tmp_path / "a.pcap")
    for packet in PACKETS:
        writer.write(packet)
    writer.close()
    writer.close()
    back = rdpcap(str(tmp_path / "a.pcap"))
    assert [bytes(p) for p in back] == PACKETS
    assert [round(float(p.time) * 1e6) for p in back] == list(range(len(PACKETS)))


def test_the_file_is_read_as_it_is_used(tmp_path: Path) -> None:
    write_pcap(tmp_path / "a.pcap")
    with (tmp_path / "a.pcap").open("ab") as file:
        file.write(b"broken")
    packets = read_packets(tmp_path / "a.pcap")
    assert [next(packets) for _ in PACKETS] == PACKETS
    with pytest.raises(DstmError, match=rf"a.pcap: packet {len(PACKETS) + 1}: .*middle"):
        next(packets)


@pytest.mark.parametrize("kind", ["pcap", "pcapng"])
def test_every_cut_inside_a_record_is_told(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "a"
    (wrpcap if kind == "pcap" else wrpcapng)(str(path), [Ether(p) for p in PACKETS[:2]])
    whole = path.read_bytes()
    readable = []
    for size in range(len(whole)):
        path.write_bytes(whole[:size])
        with contextlib.suppress(DstmError):
            readable.append(len(list(read_packets(path))))
    # Only between records a shorter file is a whole file: after the headers, and after packet one.
    assert readable == [0, 1]


@pytest.mark.parametrize(
    ("octets", "reason"),
    [
        (b"", "packet 0: "),
        (b"not a capture, but long enough to be one", "packet 0: unknown pcap format"),
        (struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 65535, 101), "packet 0: link type 101"),
        (
            struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 65535, 1)
            + struct.pack("<IIII", 0, 0, 0xFFFFFFFF, 60),
            "packet 1: a length field says 4294967295 octets",
        ),
    ],
    ids=["empty", "text", "raw-ip", "huge-length"],
)
def test_a_bad_file_is_one_line(tmp_path: Path, octets: bytes, reason: str) -> None:
    (tmp_path / "bad").write_bytes(octets)
    with pytest.raises(DstmError) as caught:
        list(read_packets(tmp_path / "bad"))
    assert str(caught.value).startswith(f"{tmp_path / 'bad'}: {reason}")
    assert "\n" not in str(caught.value)


def test_missing_files(tmp_path: Path) -> None:
    with pytest.raises(DstmError, match="absent: packet 0: No such file or directory"):
        list(read_packets(tmp_path / "absent"))
    with pytest.raises(DstmError, match="No such file or directory"):
        CaptureWriter(tmp_path / "absent" / "out")


def test_a_full_disk_is_told_when_writing_and_when_closing() -> None:
    writer = CaptureWriter(Path("/dev/full"))
    writer.write(PACKETS[5])  # stays in the buffer
    with pytest.raises(DstmError, match="/dev/full: No space left on device"):
        writer.write(bytes(1 << 17))
    with pytest.raises(DstmError, match="/dev/full: No space left on device"):
        writer.close()


@settings(max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data(), kind=st.sampled_from(["pcap", "pcapng"]))
def test_any_octets_give_packets_or_dstm_error(
    tmp_path: Path, data: st.DataObject, kind: str
) -> None:
    path = tmp_path / "fuzz"
    (wrpcap if kind == "pcap" else wrpcapng)(str(path), [Ether(p) for p in PACKETS[:3]])
    octets = bytearray(path.read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        octets[data.draw(st.integers(0, len(octets) - 1))] = data.draw(st.integers(0, 255))
    path.write_bytes(octets[: data.draw(st.integers(0, len(octets)))])
    try:
        packets = list(read_packets(path))
    except DstmError:
        return
    assert sum(map(len, packets)) <= len(octets)
