"""Write capture files with a comment on every packet: pcapng, through the blocks of dpkt.

draft-ietf-opsawg-pcapng: a section header, one interface description a port, enhanced packets.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Final

from dpkt import pcapng

from dstmrouter.errors import DstmError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

_IF_NAME: Final = 2  # option of an interface description
_SNAPLEN: Final = 1 << 18
_NS_PER_US: Final = 1000  # times are in microseconds, the default of the format


class CommentedWriter:
    """Writes Ethernet frames of the interfaces `names`; DstmError if the file cannot be written."""

    def __init__(self, path: Path, names: Sequence[str]) -> None:
        self._path = path
        self.written = 0
        try:
            self._file = path.open("wb")
        except OSError as error:
            raise DstmError(f"{path}: {error.strerror}") from error
        self._write(pcapng.SectionHeaderBlockLE())
        for name in names:
            options = _options(pcapng.PcapngOptionLE(code=_IF_NAME, data=name.encode()))
            self._write(pcapng.InterfaceDescriptionBlockLE(snaplen=_SNAPLEN, opts=options))

    def write(self, interface: int, frame: bytes, time_ns: int, comment: str) -> None:
        """Append one frame that interface number `interface` received or sent at `time_ns`."""
        high, low = divmod(time_ns // _NS_PER_US, 1 << 32)
        text = pcapng.PcapngOptionLE(code=pcapng.PCAPNG_OPT_COMMENT, text=comment)
        self._write(
            pcapng.EnhancedPacketBlockLE(
                iface_id=interface, ts_high=high, ts_low=low, pkt_data=frame, opts=_options(text)
            )
        )
        self.written += 1

    def close(self) -> None:
        """Write out and close; harmless when repeated."""
        try:
            self._file.close()
        except OSError as error:
            raise DstmError(f"{self._path}: {error.strerror}") from error

    def _write(self, block: object) -> None:
        try:
            self._file.write(bytes(block))  # type: ignore[call-overload]
            self._file.flush()  # so that others can follow the file
        except OSError as error:
            with contextlib.suppress(OSError):
                self._file.close()
            raise DstmError(f"{self._path}: {error.strerror}") from error


def _options(option: pcapng.PcapngOptionLE) -> list[pcapng.PcapngOptionLE]:
    return [option, pcapng.PcapngOptionLE(code=pcapng.PCAPNG_OPT_ENDOFOPT, data=b"")]
