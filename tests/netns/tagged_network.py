"""A router on tagged interfaces, and a peer that writes and reads tagged frames itself.

The kernel here has no VLAN devices, so its addresses and neighbours are on interfaces that lead
nowhere (`kernel_interface`), with the MAC address of the NIC, as VLAN devices have it.
"""

from __future__ import annotations

import contextlib
import shutil
import socket
import struct
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from dstmrouter.io.owner import Owner
from dstmrouter.zmqctl import ControlClient, LeasePusher
from lab.netns import PATIENCE_S, Lab, stop, veth, wait_until
from tests.netns.gateway import ask, program

if TYPE_CHECKING:
    import subprocess

TEP6_A, TEP6_B, TEP4 = "2001:db8:f::1", "2001:db8:f::2", "192.0.2.1"
CLIENT6, HOST4, POOL = "2001:db8:1::11", "198.51.100.2", "203.0.113.0/24"
US: Final = "02:00:00:00:00:01"  # as the frames of tests.pipeline.packets have it
PEER: Final = "02:00:00:00:00:ff"
VLAN6, VLAN4 = 100, 200
SOL_PACKET, PACKET_AUXDATA = 263, 8  # linux/if_packet.h
_AUXDATA: Final = struct.Struct("=IIIHHHH")  # struct tpacket_auxdata
_VLAN_VALID: Final = 0x10  # TP_STATUS_VLAN_VALID
ETH_P_ALL: Final = 3


class Wire:
    """A packet socket on an interface; frames have their tags, also those the kernel took out."""

    def __init__(self, interface: str) -> None:
        self._socket = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ETH_P_ALL))
        self._socket.setsockopt(SOL_PACKET, PACKET_AUXDATA, 1)
        self._socket.bind((interface, 0))
        self._socket.settimeout(PATIENCE_S)

    def send(self, frame: bytes) -> None:
        self._socket.send(frame)

    def receive(self) -> bytes:
        """The next frame that the router sent."""
        while True:
            frame, ancillary, _, address = self._socket.recvmsg(4096, 256)
            if address[2] != socket.PACKET_OUTGOING and frame[:6].hex(":") == PEER:
                return _with_tag(frame, ancillary)

    def close(self) -> None:
        self._socket.close()


def _with_tag(frame: bytes, ancillary: list[tuple[int, int, bytes]]) -> bytes:
    for level, kind, octets in ancillary:
        if (level, kind) == (SOL_PACKET, PACKET_AUXDATA):
            status, _, _, _, _, tci, _ = _AUXDATA.unpack(octets)
            if status & _VLAN_VALID:
                return frame[:12] + struct.pack("!HH", 0x8100, tci) + frame[12:]
    return frame


class TaggedNetwork(Owner):
    """A context manager; `nic6` and `nic4` may be the same interface."""

    def __init__(self, mode: str, nic6: str, nic4: str) -> None:
        self._undo = contextlib.ExitStack()
        self.directory = Path(tempfile.mkdtemp(prefix="dstm"))
        self._undo.callback(shutil.rmtree, self.directory, ignore_errors=True)
        lab = self._undo.enter_context(Lab())
        self.space, self.peer = lab.namespace("router"), lab.namespace("peer")
        for nic in dict.fromkeys((nic6, nic4)):
            veth((self.space, nic), (self.peer, nic))
            self.space.ip("link", "set", "dev", nic, "address", US)
            self.peer.ip("link", "set", "dev", nic, "address", PEER)
        for kernel in ("k6", "k4"):
            veth((self.space, kernel), (self.space, f"{kernel}-end"))
            self.space.ip("link", "set", "dev", kernel, "address", US)
        self.space.address("lo", f"{TEP6_A}/128", f"{TEP6_B}/128", f"{TEP4}/32")
        self.space.address("k6", "2001:db8:1::1/64")
        self.space.address("k4", "198.51.100.1/24")
        for address, kernel in ((CLIENT6, "k6"), (HOST4, "k4")):
            self.space.ip("neigh", "replace", address, "lladdr", PEER, "dev", kernel)
        with self.peer.entered():
            self.wire6 = Wire(nic6)
            self.wire4 = Wire(nic4) if nic4 != nic6 else self.wire6
        self._undo.callback(self.wire6.close)
        self._undo.callback(self.wire4.close)
        self.control_endpoint = f"ipc://{self.directory}/router"
        self.control = self._undo.enter_context(ControlClient(self.control_endpoint))
        self._start(self._config(mode, nic6, nic4))

    def pusher(self) -> LeasePusher:
        """A connection that pushes bindings."""
        return LeasePusher(self.control_endpoint, source="tests")

    def stop_router(self) -> int:
        """End it as an operator does; returns the exit code."""
        return stop(self.router)

    def missing(self) -> set[int]:
        """Frames that workers miss."""
        return {worker["missing"] for worker in ask(self.control, "status")["workers"]}

    def _config(self, mode: str, nic6: str, nic4: str) -> Path:
        ports = "".join(
            f'[[port]]\ninterface = "{nic}"\nmode = "{mode}"\nvlan = {vlan}\n'
            f'kernel_interface = "{kernel}"\n'
            for nic, vlan, kernel in ((nic6, VLAN6, "k6"), (nic4, VLAN4, "k4"))
        )
        file = self.directory / "router.toml"
        file.write_text(f"""\
[router]
name = "tagged"
control = "{self.control_endpoint}"
run_dir = "{self.directory}"
{ports}
[tunnel]
tep6 = ["{TEP6_A}", "{TEP6_B}"]
tep4 = "{TEP4}"
[[pool]]
prefix = "{POOL}"
""")
        return file

    def _start(self, config: Path) -> None:
        log = self._undo.enter_context((self.directory / "log").open("w+b"))
        words = program("router", "run", "--config", config)
        self.router: subprocess.Popen[Any] = self.space.popen(*words, stdout=log, stderr=log)

        def forwards() -> bool:
            return any("missing" in worker for worker in ask(self.control, "status")["workers"])

        try:
            wait_until(lambda: ask(self.control, "status") and forwards(), "the router")
        except Exception as error:
            log.seek(0)
            error.add_note(log.read().decode(errors="replace"))
            raise
