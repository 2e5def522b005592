"""Read and write capture files, packet by packet, through dpkt.

Reads libpcap's classic format and pcapng, writes the classic one. A file may come from anybody:
whatever is wrong with it is one DstmError, and no length field in it makes us reserve memory.
"""

from __future__ import annotations

import struct
from typing import IO, TYPE_CHECKING, Final

import dpkt

from dstmrouter.errors import DstmError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_LINKTYPE_ETHERNET: Final = 1
_MAX_RECORD: Final = 1 << 18  # octets; more than libpcap stores of one packet, headers included
_WRONG: Final = (ValueError, OSError, struct.error, dpkt.Error)  # what dpkt raises over a file
_CUT: Final = "the file ends in the middle of a record"


class _CheckedFile:
    """What dpkt reads from: refuses absurd lengths, and notices when the file ends too early."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self._empty_reads = 0

    def read(self, size: int) -> bytes:
        """Read exactly `size` octets, or none at the end of the file."""
        if not 0 <= size <= _MAX_RECORD:
            raise ValueError(f"a length field says {size} octets, at most {_MAX_RECORD} are read")
        octets = self._file.read(size)
        if octets and len(octets) < size:
            raise ValueError(_CUT)
        self._empty_reads += size > 0 and not octets
        return octets

    def check_not_ended(self, allowed: int = 0) -> None:
        """Raise ValueError if more reads than `allowed` found nothing.

        One does at the end of the last record. A record whose end is missing makes another.
        """
        if self._empty_reads > allowed:
            raise ValueError(_CUT)

    def seek(self, position: int) -> None:
        """Go to `position`; dpkt does this once, to try the other format."""
        self._file.seek(position)


def read_packets(path: Path) -> Iterator[bytes]:
    """Yield the packets of a capture of Ethernet frames, one at a time.

    DstmError names the file, the number of the packet (from 1) and the reason.
    """
    number = 0  # 0: the file's header
    try:
        with path.open("rb") as opened:
            file = _CheckedFile(opened)
            reader = dpkt.pcap.UniversalReader(file)
            if reader.datalink() != _LINKTYPE_ETHERNET:
                raise ValueError(f"link type {reader.datalink()}, not Ethernet (1)")
            number = 1
            for _, packet in reader:
                file.check_not_ended()
                yield packet
                number += 1
            file.check_not_ended(allowed=1)
    except _WRONG as error:
        raise DstmError(f"{path}: packet {number}: {_reason(error)}") from error


class CaptureWriter:
    """Writes Ethernet frames; packet n carries the time n microseconds, so runs can be compared."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._written = 0
        try:
            self._file = path.open("wb")
            self._writer = dpkt.pcap.Writer(self._file, snaplen=_MAX_RECORD)
        except OSError as error:
            raise DstmError(f"{path}: {_reason(error)}") from error

    def write(self, packet: bytes) -> None:
        """Append one packet."""
        try:
            self._writer.writepkt(packet, ts=self._written / 1e6)
        except OSError as error:
            raise DstmError(f"{self._path}: {_reason(error)}") from error
        self._written += 1

    def close(self) -> None:
        """Write out and close; harmless when repeated."""
        try:
            self._file.close()
        except OSError as error:
            raise DstmError(f"{self._path}: {_reason(error)}") from error


def _reason(error: Exception) -> str:
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return str(error) or type(error).__name__
