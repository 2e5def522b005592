"""A real router between two wires: frames are put on them and taken from them as they are."""

from __future__ import annotations

import contextlib
import shutil
import socket
import struct
import tempfile
from ipaddress import IPv4Address, IPv6Address
from pathlib import Path
from typing import TYPE_CHECKING, Final

from dstmrouter.errors import ControlError
from dstmrouter.io.owner import Owner
from dstmrouter.zmqctl import ControlClient, LeasePusher
from lab.netns import Lab, Namespace, veth, wait_until
from tests.netns.gateway import program
from tests.pipeline import packets
from tests.vectors import setting
from tests.vectors.setting import PORT4, PORT6

if TYPE_CHECKING:
    from tests.vectors.case import Case, Side

ETH_P_ALL: Final = 3
SOL_PACKET, PACKET_AUXDATA = 263, 8  # linux/if_packet.h
AUXDATA: Final = struct.Struct("=IIIHHHH")  # struct tpacket_auxdata
VLAN_VALID: Final = 1 << 4  # TP_STATUS_VLAN_VALID
NEAR4, NEXT4 = "10.10.10.1", "10.10.10.254"
NEAR6, NEXT6 = "fd00::1", "fd00::2"
FAR: Final = IPv4Address("1.2.3.4")
MARK: Final = b"the last frame"


class Wire:
    """The far end of one of the router's links."""

    def __init__(self, space: Namespace, interface: str, side: Side) -> None:
        self.side = side
        with space.entered():
            self._socket = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ETH_P_ALL))
        self._socket.bind((interface, ETH_P_ALL))
        self._socket.setsockopt(SOL_PACKET, PACKET_AUXDATA, 1)
        self._socket.setblocking(False)
        self._got: list[bytes] = []

    def send(self, frame: bytes) -> None:
        """Put a frame on the wire."""
        self._socket.send(frame)

    def got(self) -> list[bytes]:
        """All unicast IP frames that have come from the router."""
        with contextlib.suppress(BlockingIOError):
            while True:
                frame, ancillary, _, address = self._socket.recvmsg(8192, 64)
                if address[2] != socket.PACKET_OUTGOING and not frame[0] & 1:
                    self._got.append(_with_tag(frame, ancillary))
        return [frame for frame in self._got if frame[12:14] != b"\x08\x06"]  # ARP is the kernel's

    def forget(self) -> None:
        """Leave out what has come so far."""
        self.got()
        self._got.clear()

    def close(self) -> None:
        self._socket.close()


def _with_tag(frame: bytes, ancillary: list[tuple[int, int, bytes]]) -> bytes:
    """The kernel tells the 802.1Q tag beside the frame: put it back."""
    for level, kind, data in ancillary:
        if (level, kind) == (SOL_PACKET, PACKET_AUXDATA):
            status, *_, tci, tpid = AUXDATA.unpack_from(data)
            if status & VLAN_VALID:
                return frame[:12] + struct.pack("!HH", tpid, tci) + frame[12:]
    return frame


class Bench(Owner):
    """Wires, router and bindings of a case's configuration; a context manager."""

    def __init__(self, case: Case, mode: str) -> None:
        self._undo = contextlib.ExitStack()
        with contextlib.ExitStack() as undo:
            directory = Path(tempfile.mkdtemp(prefix="dstm"))  # short, for the path of a socket
            undo.callback(shutil.rmtree, directory, ignore_errors=True)
            lab = undo.enter_context(Lab())
            self._router, outside = lab.namespace("router"), lab.namespace("outside")
            outside.sysctl({"net.ipv6.conf.default.disable_ipv6": "1"})
            self._links(case, outside)
            self.wire4 = Wire(outside, f"far{PORT4}", case.v4)
            self.wire6 = Wire(outside, f"far{PORT6}", case.v6)
            undo.callback(self.wire4.close)
            undo.callback(self.wire6.close)
            self._start(case, mode, directory, undo)
            self._undo = undo.pop_all()

    def _links(self, case: Case, outside: Namespace) -> None:
        router = self._router
        for port, side in ((PORT4, case.v4), (PORT6, case.v6)):
            veth((router, port), (outside, f"far{port}"), mtu=side.mtu)
            router.ip("link", "set", "dev", port, "address", side.mac.hex(":"))
        router.address("lo", f"{case.v4.address}/32")
        router.address("lo", *(f"{address}/128" for address in setting.tep6(case)))
        router.address(PORT4, f"{NEAR4}/24")
        router.address(PORT6, f"{NEAR6}/64")
        for port, hop, side in ((PORT4, NEXT4, case.v4), (PORT6, NEXT6, case.v6)):
            mac = side.next_mac.hex(":")
            router.ip("neigh", "add", hop, "lladdr", mac, "dev", port, "nud", "permanent")
        router.route("default", "via", NEXT4)
        router.route(setting.CLIENTS, "via", NEXT6)

    def _start(self, case: Case, mode: str, directory: Path, undo: contextlib.ExitStack) -> None:
        config = directory / "router.toml"
        config.write_text(setting.router_toml(case, directory, mode))
        log = directory / "log"
        with log.open("wb") as file:
            self._router.popen(*program("router", "run", "-c", config), stdout=file, stderr=file)
        self.control = undo.enter_context(ControlClient(f"ipc://{directory}/router"))
        try:
            wait_until(self.workers, "a worker")
            with LeasePusher(f"ipc://{directory}/router", source="vectors") as pusher:
                result = pusher.put(setting.bindings(case))
            assert result.applied == len(case.softwires), result
        except Exception as error:
            error.add_note(log.read_text(errors="replace"))
            raise

    def workers(self) -> list[int]:
        """Frames missing at every worker that has told."""
        try:
            status = self.control.call("status", timeout_s=1)
        except ControlError:
            return []
        return [worker["missing"] for worker in status["workers"] if "missing" in worker]

    def counters(self) -> dict[str, int]:
        """Packets of every verdict."""
        rows = self.control.call("counters")["verdicts"]
        return {row["name"]: row["packets"] for row in rows}

    def markers(self, case: Case) -> tuple[bytes, bytes] | None:
        """Frames to be sent last on the IPv6 wire: one comes back there, one leaves by IPv4.

        None if the router lets nothing pass.
        """
        if case.v6.filter_in is not None:
            return None
        wire = next(wire for wire in case.softwires if wire.psid_len == 0)
        ping = packets.echo(data=MARK)
        inner = [
            packets.ipv4(wire.ipv4, case.v4.address, ping, protocol=1),
            packets.ipv4(wire.ipv4, FAR, packets.UDP_PORTS + MARK),
        ]
        tep6, tci = IPv6Address(wire.tep6), case.v6.vlan
        macs = case.v6.mac + case.v6.next_mac
        back, through = (
            macs + packets.ether(packets.ipv6(packet, wire.client6, tep6), tci)[12:]
            for packet in inner
        )
        return back, through
