"""Maps that change under running programs, and attachment with a real kernel."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import textwrap
from contextlib import ExitStack
from ipaddress import IPv4Network, IPv6Address
from typing import TYPE_CHECKING

import pytest

from dstmrouter.errors import DstmError, SystemCallError
from dstmrouter.io import steering
from dstmrouter.io.afxdp import XskConfig, XskSocket
from dstmrouter.io.clsact import ClsactFilter
from dstmrouter.io.steering import (
    SteeringMaps,
    XdpMode,
    XskMap,
    attach_tcx,
    attach_xdp,
    load_tc,
    load_xdp,
)
from dstmrouter.io.umem import Umem
from tests.io.conftest import Veth, ip, mac_of
from tests.io.frames import ethernet, ipv6, udp4

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from dstmrouter.io.bpf import Link, Program

pytestmark = [
    pytest.mark.netns,
    pytest.mark.skipif(os.geteuid() != 0, reason="loading BPF programs needs root"),
]
OUR4 = "192.0.2.1"  # in the pool, and an address of the kernel: so both can be seen to get packets
PORT = 4000


@pytest.fixture
def maps() -> Iterator[SteeringMaps]:
    with SteeringMaps() as made:
        made.set_pools([IPv4Network("192.0.2.0/24")])
        yield made


@pytest.fixture
def pair(veth: Callable[[str], Veth]) -> Veth:
    made = veth("s")
    ip(f"addr add {OUR4}/24 dev {made.near}")
    return made


class Kernel:
    """Sends UDP from the far end; shows whether the kernel of the near end gets it."""

    def __init__(self, pair: Veth, undo: ExitStack) -> None:
        self.frame = ethernet(0x0800, udp4(OUR4, PORT, b"hello"), dst=mac_of(pair.near))
        self._tap = undo.enter_context(pair.tap())
        self._udp = undo.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
        self._udp.bind((OUR4, PORT))
        self._udp.setblocking(False)

    def gets_it(self) -> bool:
        """Whether a datagram sent now arrives; veth delivers before `send` returns."""
        self._tap.send(self.frame)
        try:
            return self._udp.recv(100) == b"hello"
        except BlockingIOError:
            return False


@pytest.fixture
def kernel(pair: Veth) -> Iterator[Kernel]:
    with ExitStack() as undo:
        yield Kernel(pair, undo)


def test_changed_sets_keep_what_stays(maps: SteeringMaps) -> None:
    first, second, third = (IPv6Address(f"2001:db8::{i}") for i in (1, 2, 3))
    maps.set_tep6([first, second])
    maps.set_tep6([second, third])
    assert set(maps.tep6.keys()) == {second.packed, third.packed}
    maps.set_tep6([])
    assert set(maps.tep6.keys()) == set()
    maps.set_pools([IPv4Network("10.0.0.0/8"), IPv4Network("10.0.0.0/16")])
    maps.set_pools([IPv4Network("10.0.0.0/16"), IPv4Network("0.0.0.0/0")])
    assert {key.hex() for key in maps.pools.keys()} == {"100000000a000000", "0000000000000000"}  # noqa: SIM118 not a dict


@pytest.mark.parametrize("mode", XdpMode)
def test_xdp_takes_ours_and_follows_the_maps(
    pair: Veth, kernel: Kernel, maps: SteeringMaps, mode: XdpMode
) -> None:
    umem = Umem(64)
    with (
        XskSocket.open(pair.near, 0, umem, XskConfig()) as sock,
        XskMap.create() as xsks,
        load_xdp(maps, xsks, None) as program,
    ):
        sock.refill(umem.pool.take(64))
        assert kernel.gets_it()
        link = attach_xdp(pair.ifindex, program, mode)
        assert link.mode is mode
        assert kernel.gets_it()  # no socket in the map yet
        xsks.set(0, sock.fileno())
        assert not kernel.gets_it()
        assert [d["len"] for d in sock.receive(9)] == [len(kernel.frame)]
        maps.set_pools([])
        assert kernel.gets_it()
        maps.set_pools([IPv4Network("192.0.2.1/32")])
        assert not kernel.gets_it()
        link.close()
        link.close()
        assert kernel.gets_it()
        assert len(sock.receive(9)) == 1
    umem.close()


def test_auto_prefers_the_driver(pair: Veth, maps: SteeringMaps) -> None:
    with XskMap.create() as xsks, load_xdp(maps, xsks, None) as program:
        with attach_xdp(pair.ifindex, program) as link:
            assert (link.mode, link.notes) == (XdpMode.NATIVE, [])
        # A loopback interface has no driver for it: the kernel's answer is kept for the log.
        with attach_xdp(socket.if_nametoindex("lo"), program) as link:
            assert link.mode is XdpMode.GENERIC
            assert link.notes == ["attach XDP program to lo, native: Operation not supported"]


def test_an_interface_with_another_program_is_told(pair: Veth, maps: SteeringMaps) -> None:
    with (
        XskMap.create() as xsks,
        load_xdp(maps, xsks, None) as program,
        attach_xdp(pair.ifindex, program),
        pytest.raises(SystemCallError, match=r"attach XDP program to sn, native: Device or"),
    ):
        attach_xdp(pair.ifindex, program)


@pytest.mark.parametrize("attach", [attach_tcx, ClsactFilter.attach])
def test_tc_drops_ours_and_ends_when_closed(
    pair: Veth,
    kernel: Kernel,
    maps: SteeringMaps,
    attach: Callable[[int, Program], Link | ClsactFilter],
) -> None:
    with load_tc(maps, None) as program:
        attached = attach(pair.ifindex, program)
        assert not kernel.gets_it()
        maps.set_pools([])
        assert kernel.gets_it()
        maps.set_pools([IPv4Network("192.0.2.0/24")])
        assert not kernel.gets_it()
        attached.close()
        attached.close()
        assert kernel.gets_it()


def test_a_kernel_without_tcx_gets_the_filter(
    pair: Veth, kernel: Kernel, maps: SteeringMaps, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The number of no kernel yet gets from this one the answer that old ones give to TCX.
    monkeypatch.setattr(steering, "_TCX", 9999)
    with load_tc(maps, None) as program, attach_tcx(pair.ifindex, program) as attached:
        assert isinstance(attached, ClsactFilter)
        assert not kernel.gets_it()
    assert kernel.gets_it()


def test_an_interface_that_is_not_there_is_told(pair: Veth, maps: SteeringMaps) -> None:
    with XskMap.create() as xsks, load_xdp(maps, xsks, None) as xdp, load_tc(maps, None) as tc:
        ifindex = pair.ifindex
        ip(f"link del {pair.near}")
        with pytest.raises(SystemCallError, match=f"attach XDP program to interface {ifindex}, "):
            attach_xdp(ifindex, xdp)
        with pytest.raises(SystemCallError, match=f"attach TC program to interface {ifindex}: "):
            attach_tcx(ifindex, tc)


def test_the_descriptor_of_another_map_is_refused(maps: SteeringMaps) -> None:
    with pytest.raises(DstmError, match="dstm_xsks is a HASH map, no XSKMAP"):
        XskMap.from_fd(maps.tep6.fileno())


ROUTER = textwrap.dedent(
    """
    import sys
    from dstmrouter.io.afxdp import XskConfig, XskSocket
    from dstmrouter.io.steering import *
    from dstmrouter.io.umem import Umem
    from ipaddress import IPv4Network
    interface, ifindex = sys.argv[1], int(sys.argv[2])
    maps, xsks, umem = SteeringMaps(), XskMap.create(), Umem(64)
    maps.set_pools([IPv4Network("192.0.2.0/24")])
    sock = XskSocket.open(interface, 0, umem, XskConfig())
    xsks.set(0, sock.fileno())
    link = attach_xdp(ifindex, load_xdp(maps, xsks, None))
    print("ready", flush=True)
    sys.stdin.read()
    """
)


def test_a_killed_router_leaves_no_program_and_can_be_followed(
    pair: Veth, kernel: Kernel, maps: SteeringMaps
) -> None:
    command = [sys.executable, "-c", ROUTER, pair.near, str(pair.ifindex)]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as router:
        try:
            assert router.stdout is not None
            assert router.stdout.readline() == "ready\n"
            assert "prog/xdp" in ip(f"-d link show {pair.near}")
            assert not kernel.gets_it()
        finally:
            router.kill()
        umem = Umem(64)
        with (  # at once, while the kernel may still be busy with what the killed one held
            XskSocket.open(pair.near, 0, umem, XskConfig()),
            XskMap.create() as xsks,
            load_xdp(maps, xsks, None) as program,
            attach_xdp(pair.ifindex, program),
        ):
            pass
        umem.close()
    assert "prog/xdp" not in ip(f"-d link show {pair.near}")
    assert kernel.gets_it()


def test_the_map_can_be_handed_to_a_worker(pair: Veth, maps: SteeringMaps) -> None:
    umem = Umem(64)
    with (
        XskMap.create() as xsks,
        XskMap.from_fd(os.dup(xsks.fileno())) as inherited,
        XskSocket.open(pair.near, 0, umem, XskConfig()) as sock,
        load_xdp(maps, xsks, None) as program,
    ):
        inherited.set(0, sock.fileno())
        frame = ethernet(0x0800, udp4(OUR4, PORT, b""))
        assert program.run(frame).action == 4
        assert program.run(ethernet(0x86DD, ipv6("2001:db8::1", 4))).action == 2
        with pytest.raises(SystemCallError, match="set 40000000 in BPF map dstm_xsks"):
            inherited.set(64, sock.fileno())
    umem.close()
