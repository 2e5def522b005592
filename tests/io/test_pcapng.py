from __future__ import annotations

from pathlib import Path

import pytest
from scapy.utils import RawPcapNgReader

from dstmrouter.errors import DstmError
from dstmrouter.io.capturefile import read_packets
from dstmrouter.io.pcapng import CommentedWriter

FRAMES = [bytes([n]) * size for n, size in enumerate((14, 60, 61, 62, 63, 1514, 4096))]


def test_scapy_reads_frames_times_interfaces_and_comments(tmp_path: Path) -> None:
    writer = CommentedWriter(tmp_path / "a.pcapng", ["port6", "port4.100"])
    for number, frame in enumerate(FRAMES):
        time_ns = 1_700_000_000_123_456_000 + number * 1000
        writer.write(number % 2, frame, time_ns, f"DROP_TTL: für {number}")
    assert writer.written == len(FRAMES)
    writer.close()
    writer.close()
    assert list(read_packets(tmp_path / "a.pcapng")) == FRAMES
    with RawPcapNgReader(str(tmp_path / "a.pcapng")) as reader:
        for number, (frame, meta) in enumerate(reader):
            assert frame == FRAMES[number]
            comments = getattr(meta, "comments", None) or [meta.comment]
            assert comments == [f"DROP_TTL: für {number}".encode()]
            assert meta.ifname == (b"port6", b"port4.100")[number % 2]
            assert (meta.tshigh << 32 | meta.tslow) == 1_700_000_000_123_456 + number


def test_file_that_cannot_be_made(tmp_path: Path) -> None:
    with pytest.raises(DstmError, match="/absent/a: No such file"):
        CommentedWriter(tmp_path / "absent" / "a", ["port6"])


def test_full_disk_is_told() -> None:
    with pytest.raises(DstmError, match="/dev/full: No space left"):
        CommentedWriter(Path("/dev/full"), ["port6"])
