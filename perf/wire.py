"""Forwarding over veth: offered, forwarded and lost packets of `dstm-router` and of dpdk-testpmd.

    python -m perf wire [--json] [--out FILE] [--runs N] [--seconds S] [--size OCTETS]
                        [--bindings N] [--quick]

A generator inside the kernel sends into one port of the gateway; an XDP program at the far end of
the other counts what arrives. `offered` is as much as the generator can; `no-loss` is the highest
offered rate found of which at most 0.1 % was lost. testpmd stands between the same two ports, one
after the other in each run, and moves frames without looking at them. `user share` is the part of
a program's processor time that it spends in its own code, and not in the kernel.
"""

from __future__ import annotations

import collections
import contextlib
import dataclasses
import sys
import time
from typing import TYPE_CHECKING, Final

import numpy as np

from dstmrouter.binding import full_address_columns
from dstmrouter.zmqctl import LeasePusher
from perf import testpmd
from perf.figures import Figure
from perf.gateway import MACS, POOL, TEP6, Gateway, RouterProcess, cpu_seconds_by_mode, settle_in
from perf.generator import VARIANTS_MAX, Generator, decap_variation, encap_variation
from perf.packets import client6_of, decap_frames, encap_frames
from perf.results import report, shared_options
from perf.sink import Kind, Sink

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

MODES: Final = {"afxdp": "auto", "packet_mmap": "packet_mmap"}
LOSS_MAX: Final = 0.001  # of the packets offered
SEARCH_STEPS: Final = 6
SEARCH_S: Final = 0.4
SEARCH_FROM: Final = 1.25  # times what was forwarded under overload
WARM_PACKETS: Final = 64


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What the command line chooses."""

    runs: int = 5
    seconds: float = 1.0
    size: int = 64  # octets of the inner packet
    bindings: int = 256
    ios: tuple[str, ...] = tuple(MODES)
    rivals: bool = True  # testpmd as well
    search: bool = True  # for the highest rate without loss


@dataclasses.dataclass(frozen=True, slots=True)
class Way:
    """One direction through the gateway: where frames are sent and what arrives where."""

    name: str
    generator: Generator
    sink: Sink
    routed: Kind  # what our router makes of a frame
    unchanged: Kind


class Ways:
    """Both directions; a context manager."""

    def __init__(self, gateway: Gateway, options: Options, undo: contextlib.ExitStack) -> None:
        sinks = {
            side: undo.enter_context(Sink(space, f"far{side}"))
            for side, space in (("6", gateway.far6), ("4", gateway.far4))
        }
        address = np.array([int(POOL.network_address)], np.uint32)
        rng = np.random.default_rng(7)
        port = np.array([4711], np.uint16)
        encap = encap_frames(address, port, options.size, rng)
        decap = decap_frames(address, port, client6_of(address), TEP6, options.size, rng)
        many = options.bindings
        to4 = Generator(gateway.far4, "far4", _addressed(encap, "port4"), encap_variation(), many)
        to6 = Generator(gateway.far6, "far6", _addressed(decap, "port6"), decap_variation(), many)
        for generator in (to4, to6):
            undo.enter_context(generator)
        self.all = (
            Way("encap", to4, sinks["6"], Kind.TUNNEL, Kind.IPV4),
            Way("decap", to6, sinks["4"], Kind.IPV4, Kind.TUNNEL),
        )


def _addressed(frames: np.ndarray[tuple[int, ...], np.dtype[np.uint8]], port: str) -> bytes:
    octets = bytes.fromhex(MACS[port].replace(":", ""))
    return octets + bytes(frames[0])[len(octets) :]


@dataclasses.dataclass(frozen=True, slots=True)
class Forwarder:
    """A running program between the ports."""

    name: str
    pid: int  # of the process that forwards
    routes: bool  # else frames come out as they went in

    def made_of(self, way: Way) -> Kind:
        """What it makes of this way's frames."""
        return way.routed if self.routes else way.unchanged


@dataclasses.dataclass(frozen=True, slots=True)
class Load:
    """What became of the packets of one measurement, packets/s."""

    offered: float
    forwarded: float
    lost: float
    cpu: float  # of one CPU, used by the forwarding process
    user: float  # of that, in its own code

    @property
    def clean(self) -> bool:
        """Whether next to nothing was lost."""
        return self.lost <= LOSS_MAX * self.offered


def load(way: Way, through: Forwarder, seconds: float, pps: float | None = None) -> Load:
    """Send for some time and count."""
    kind = through.made_of(way)
    before, (user, system) = way.sink.settled(kind), cpu_seconds_by_mode(through.pid)
    start = time.monotonic()
    sent = way.generator.send(seconds, pps)
    elapsed = time.monotonic() - start
    arrived = way.sink.count(kind) - before
    user_now, system_now = cpu_seconds_by_mode(through.pid)
    user, system = user_now - user, system_now - system
    lost = sent - (way.sink.settled(kind) - before)
    cpu = user + system
    return Load(
        offered=sent / elapsed,
        forwarded=arrived / elapsed,
        lost=lost / elapsed,
        cpu=cpu / elapsed,
        user=user / cpu if cpu else 0.0,
    )


def no_loss(way: Way, through: Forwarder, overload: Load) -> float:
    """The highest offered rate without loss, by bisection; 0 if there was always some."""
    low, high = 0.0, min(overload.offered, SEARCH_FROM * overload.forwarded)
    for _ in range(SEARCH_STEPS):
        pps = (low + high) / 2
        # A second chance: other guests of this machine take its CPUs away now and then.
        tries = (load(way, through, SEARCH_S, pps) for _ in range(2))
        good = next((one for one in tries if one.clean), None)
        if good is None:
            high = pps
        else:
            low = max(low, good.offered)
    return low


def check(way: Way, through: Forwarder) -> None:
    """Make sure that everything arrives when there is little of it."""
    kind = through.made_of(way)
    before = way.sink.settled(kind)
    deadline = time.monotonic() + 5
    while True:  # the forwarder may still be starting
        way.generator.send_some(WARM_PACKETS)
        arrived = way.sink.settled(kind) - before
        if arrived >= WARM_PACKETS:
            return
        if time.monotonic() > deadline:
            raise SystemExit(f"{through.name}, {way.name}: {arrived} packets arrived")


Runs = dict[tuple[str, str], list[float]]
"""Values by what was done, with its unit."""


def measure(options: Options) -> list[Figure]:
    """All figures; the programs take turns, so that a slow moment of the machine hits them all."""
    runs: Runs = collections.defaultdict(list)
    with contextlib.ExitStack() as undo:
        gateway = undo.enter_context(Gateway())
        ways = Ways(gateway, options, undo)
        for _ in range(options.runs):
            for io in options.ios:
                with router(gateway, io, options) as running:
                    through = Forwarder(f"{io} dstm-router", running.worker_pid(), routes=True)
                    _measure_ways(ways, through, options, runs)
                if options.rivals and testpmd.installed():
                    with testpmd.forwarding(gateway, io) as pid:
                        through = Forwarder(f"{io} testpmd io", pid, routes=False)
                        _measure_ways(ways, through, options, runs)
    return [
        Figure(
            bench="wire",
            work=work,
            unit=unit,
            runs=values,
            bindings=options.bindings,
            frame=options.size,
        )
        for (work, unit), values in sorted(runs.items())
    ]


def _measure_ways(ways: Ways, through: Forwarder, options: Options, runs: Runs) -> None:
    for way in ways.all:
        check(way, through)
        over = load(way, through, options.seconds)
        name = f"{way.name} {through.name}"
        for what in ("offered", "forwarded", "lost"):
            runs[f"{name}: {what}", "Mpps"].append(getattr(over, what) / 1e6)
        runs[f"{name}: CPU", "%"].append(100 * over.cpu)
        if over.cpu:  # else it got none at all, in a short time on a busy machine
            runs[f"{name}: user share", "%"].append(100 * over.user)
            runs[f"{name}: forwarded per CPU", "Mpps"].append(over.forwarded / over.cpu / 1e6)
        if options.search:
            runs[f"{name}: no-loss", "Mpps"].append(no_loss(way, through, over) / 1e6)


@contextlib.contextmanager
def router(gateway: Gateway, io: str, options: Options) -> Iterator[RouterProcess]:
    """A router with bindings for every variant of the frames."""
    with gateway.router(MODES[io], leases=VARIANTS_MAX) as running:
        ipv4 = np.uint32(int(POOL.network_address)) + np.arange(options.bindings, dtype=np.uint32)
        columns = full_address_columns(ipv4, client6_of(ipv4), lifetime_s=86400, tep6=[TEP6])
        with LeasePusher(gateway.control, source="perf") as pusher:
            pushed = pusher.put(columns)
        assert pushed.rows == options.bindings, pushed
        yield running


def main(argv: Sequence[str] | None = None) -> None:
    """Parse options, measure, print."""
    parser = shared_options("wire", __doc__, 5)
    parser.add_argument("--seconds", type=float, default=1.0, help="of one measurement (default 1)")
    parser.add_argument("--size", type=int, default=64, help="octets of the inner packet")
    parser.add_argument(
        "--bindings", type=int, default=256, help="a power of two up to 65,536 (default 256)"
    )
    parser.add_argument("--io", choices=[*MODES], help="only these ports (default: all)")
    parser.add_argument("--alone", action="store_true", help="without testpmd")
    parser.add_argument("--no-search", action="store_true", help="no search for the no-loss rate")
    parser.add_argument("--quick", action="store_true", help="one short run, no search, no testpmd")
    args = parser.parse_args(argv)
    settle_in()
    options = Options(
        runs=1 if args.quick else args.runs,
        seconds=min(args.seconds, 0.2) if args.quick else args.seconds,
        size=args.size,
        bindings=args.bindings,
        ios=tuple(MODES) if args.io is None else (args.io,),
        rivals=not (args.alone or args.quick),
        search=not (args.quick or args.no_search),
    )
    if not testpmd.installed():
        print("dpdk-testpmd is not installed: no comparison", file=sys.stderr)
    report("over veth, one worker", measure(options), args)


if __name__ == "__main__":
    main()
