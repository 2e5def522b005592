"""`router.toml`: what a gateway needs to know before it starts."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final, Literal, TypeAlias

from dstmrouter.config.checks import Misfit, Several, counted, power_of_two, seconds, whole
from dstmrouter.config.fields import (
    AbsolutePath,
    CurveKey,
    Endpoint,
    FlowLabel,
    Interface,
    MssClamp,
    Name,
    Prefix4,
    Prefix6,
    Range4,
    Unicast4,
    Vlan,
    is_remote,
)
from dstmrouter.config.model import (
    CurveConfig,
    LogFormat,
    LogLevel,
    Section,
    Tep6List,
    curve_misfits,
    overlaps,
    repeated,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

PortMode: TypeAlias = Literal["auto", "native-zerocopy", "native-copy", "generic", "packet_mmap"]
Transmit: TypeAlias = Literal["auto", "socket", "xdp-frames"]
RingSlots: TypeAlias = Annotated[int, power_of_two(64, 65536)]

FRAMES_OCTETS_MAX: Final = (1 << 29) - 8192  # `io.xdpframes.MEMORY_MAX`
FRAME_OVERHEAD: Final = 256 + 18  # XDP_PACKET_HEADROOM (linux/bpf.h), Ethernet header with one tag


class RouterSection(Section):
    """`[router]`: the process itself."""

    name: Name
    workers: Annotated[int, whole(1, 64)] = 1
    cpus: Annotated[Several[Annotated[int, whole(0, 4095)]], counted(0, 64, "CPUs")] = ()
    control: Endpoint = "ipc:///run/dstm-router/control"
    run_dir: AbsolutePath = Path("/run/dstm-router")
    log_level: LogLevel = "info"
    log_format: LogFormat = "console"

    def misfits(self) -> Iterator[Misfit]:
        """Every worker needs a CPU of its own."""
        if self.cpus and len(self.cpus) < self.workers:
            yield ("cpus",), f"at least {self.workers} CPUs for {self.workers} workers, or none"
        if len(set(self.cpus)) < len(self.cpus):
            yield ("cpus",), "each CPU once"


class WorkerSection(Section):
    """`[worker]`: how workers work."""

    engine: Literal["compiled", "numpy"] = "compiled"
    usage: bool = False


class PortConfig(Section):
    """`[[port]]`: a network interface that carries our packets, IPv4 and IPv6 alike."""

    interface: Interface
    mode: PortMode = "auto"
    vlan: Vlan | None = None
    kernel_interface: Interface | None = None
    busy_poll: bool = False
    transmit: Transmit = "auto"
    filter_in: str = ""
    filter_out: str = ""

    @property
    def name(self) -> str:
        """What people call the port."""
        return self.interface if self.vlan is None else f"{self.interface}.{self.vlan}"

    @property
    def addressed_interface(self) -> str:
        """The interface on which the kernel keeps this port's addresses, routes, neighbours."""
        if self.kernel_interface is not None:
            return self.kernel_interface
        return self.name


class UmemConfig(Section):
    """`[umem]`: packet memory of one worker and the rings of each of its ports."""

    frames: Annotated[int, whole(256, 1 << 22)] = 16384
    chunk_size: Literal[2048, 4096] = 2048
    rx_slots: RingSlots = 4096
    tx_slots: RingSlots = 2048
    fill_slots: RingSlots = 4096
    completion_slots: RingSlots = 4096

    @property
    def max_mtu(self) -> int:
        """Octets of the largest packet that a chunk holds, with all that is before it."""
        return self.chunk_size - FRAME_OVERHEAD


class TunnelConfig(Section):
    """`[tunnel]`: our end of all tunnels (RFC 2473)."""

    tep6: Tep6List
    tep4: Unicast4
    hop_limit: Annotated[int, whole(1, 255)] = 64
    dscp: Literal["uniform", "pipe"] = "uniform"
    flow_label: FlowLabel = "hash"
    hairpin: bool = True
    mtu: Annotated[int, whole(1280, 3822, "octets")] = 1500
    ecn: Literal["normal", "compatibility"] = "normal"
    encapsulation_limit: Annotated[int, whole(0, 255)] | None = None
    df_policy: Literal["strict", "ignore"] = "strict"
    fragment: Literal["outer", "inner"] = "outer"
    mss_clamp: MssClamp = False

    def misfits(self) -> Iterator[Misfit]:
        """Refuse the same end point twice."""
        yield from repeated(self.tep6, ("tep6",))


class ReassemblyConfig(Section):
    """`[reassembly]`: IPv6 fragments of tunnel packets (RFC 8200 section 4.5); for each worker."""

    timeout_s: Annotated[int, whole(1, 120, "seconds")] = 60
    frames: Annotated[int, whole(16, 1 << 20)] | None = None
    per_client: Annotated[int, whole(1, 1024)] = 16
    per_datagram: Annotated[int, whole(1, 1024)] = 40


class IcmpSection(Section):
    """`[icmp]`: which ICMP errors we send, and how many; names of RFC 8676 where it has them."""

    generate_icmpv4_errors: bool = True
    generate_icmpv6_errors: bool = True
    host_unreachable: bool = True
    admin_prohibited: bool = True
    relay_icmpv6_errors: bool = True
    access_prefixes: Annotated[Several[Prefix6], counted(0, 256, "IPv6 prefixes")] = ()
    ttl: Annotated[int, whole(1, 255)] = 64
    icmpv4_rate: Annotated[int, whole(1, 1_000_000, "a second")] = 1000
    icmpv6_rate: Annotated[int, whole(1, 1_000_000, "a second")] = 1000
    prefix_rate: Annotated[int, whole(1, 1_000_000, "a second")] = 10
    prefix_burst: Annotated[int, whole(1, 1_000_000)] = 10
    prefix_length4: Annotated[int, whole(8, 32)] = 24
    prefix_length6: Annotated[int, whole(32, 64)] = 64


class RouterPool(Section):
    """`[[pool]]`: IPv4 addresses whose packets are ours."""

    prefix: Prefix4


class TableConfig(Section):
    """`[table]`: capacities of the shared tables, reserved at start."""

    leases: Annotated[int, whole(1, 1 << 24)] = 1 << 20
    port_sets: Annotated[int, whole(0, 1 << 28)] = 1 << 20
    hops: Annotated[int, whole(16, 1 << 20)] = 1 << 16
    routes: Annotated[int, whole(16, 1 << 24)] = 1 << 16


class FeedSource(Section):
    """`[[feed]]`: a server whose bindings this router follows."""

    server: Name
    feed: Endpoint
    control: Endpoint
    server_key: CurveKey | None = None
    store: Name | None = None

    @property
    def source(self) -> str:
        """Whose bindings these are: one source for all servers of a store."""
        return self.server if self.store is None else f"{self.store}@store"

    def misfits(self) -> Iterator[Misfit]:
        """A server on the network must prove who it is."""
        remote = [value for value in (self.feed, self.control) if is_remote(value)]
        if remote and self.server_key is None:
            yield ("server_key",), f"the server's public key, because of {remote[0]}"


class UsageFeedSection(Section):
    """`[usage_feed]`: where programs are told what bindings have used."""

    bind: Endpoint
    interval_s: Annotated[float, seconds(0.1, 3600)] = 10.0


class RouterConfig(Section):
    """The whole of `router.toml`."""

    router: RouterSection
    worker: WorkerSection = WorkerSection()
    port: Annotated[Several[PortConfig], counted(1, 8, "ports")]
    umem: UmemConfig = UmemConfig()
    tunnel: TunnelConfig
    reassembly: ReassemblyConfig = ReassemblyConfig()
    icmp: IcmpSection = IcmpSection()
    pool: Annotated[Several[RouterPool], counted(1, 256, "pools")]
    table: TableConfig = TableConfig()
    feed: Annotated[Several[FeedSource], counted(0, 64, "feeds")] = ()
    usage_feed: UsageFeedSection | None = None
    curve: CurveConfig | None = None

    def misfits(self) -> Iterator[Misfit]:
        """Check what concerns several tables of the file."""
        yield from self._port_misfits()
        yield from repeated([feed.server for feed in self.feed], ("feed",), "server")
        ranges = [Range4.of_network(pool.prefix) for pool in self.pool]
        yield from overlaps(ranges, ["prefix"] * len(ranges))
        yield from self._memory_misfits()
        feeds = [endpoint for feed in self.feed for endpoint in (feed.feed, feed.control)]
        bound = [self.router.control]
        if self.usage_feed is not None:
            bound.append(self.usage_feed.bind)
            if self.usage_feed.bind == self.router.control:
                yield ("usage_feed", "bind"), "another endpoint than [router] control"
        yield from curve_misfits(self.curve, [*bound, *feeds])

    @property
    def reassembly_frames(self) -> int:
        """Frames of a worker that may wait for others of their datagrams."""
        return self.reassembly.frames or self.umem.frames // 8

    def _port_misfits(self) -> Iterator[Misfit]:
        """Ports may share an interface, told apart by their tags, but none of the kernel's."""
        names = [port.name for port in self.port]
        kernel = [port.addressed_interface for port in self.port]
        if len(set(names)) < len(names):
            yield from repeated(names, ("port",), "interface")
        else:
            yield from repeated(kernel, ("port",), "kernel_interface")
        first: dict[str, int] = {}
        for i, port in enumerate(self.port):
            other = self.port[first.setdefault(port.interface, i)]
            for key in ("mode", "busy_poll", "transmit"):
                if getattr(port, key) != getattr(other, key):
                    wanted = f"that of #{first[port.interface] + 1}, which has the same interface"
                    yield ("port", i, key), wanted
            if port.transmit == "xdp-frames" and port.mode in {"native-zerocopy", "packet_mmap"}:
                yield ("port", i, "transmit"), f"auto or socket with mode = {port.mode}"

    def _memory_misfits(self) -> Iterator[Misfit]:
        umem = self.umem
        # A port may fill both rings that hold frames for long; the others then still get theirs.
        need = len(self.port) * (umem.fill_slots + umem.tx_slots)
        if umem.frames < need:
            yield (
                ("umem", "frames"),
                f"at least {need} (ports: {len(self.port)}, each with "
                f"fill_slots = {umem.fill_slots} and tx_slots = {umem.tx_slots})",
            )
        frames_max = FRAMES_OCTETS_MAX // umem.chunk_size
        if umem.frames > frames_max and any(port.transmit == "xdp-frames" for port in self.port):
            yield ("umem", "frames"), f'at most {frames_max} with [[port]] transmit = "xdp-frames"'
        if self.reassembly_frames > umem.frames // 4:
            most = umem.frames // 4
            yield ("reassembly", "frames"), f"at most {most}, a quarter of [umem] frames"
        if self.tunnel.mtu > umem.max_mtu:
            wanted = f"at most {umem.max_mtu} with [umem] chunk_size = {umem.chunk_size}"
            yield ("tunnel", "mtu"), wanted
