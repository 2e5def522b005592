"""The supervisor of dstm-router: the control plane of one gateway, and the parent of its workers.

It is the single writer of the shared tables. The workers need it for nothing while it lives and
the kernel kills them when it dies; bindings end by their own expiry when the servers are away.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import os
import secrets
import signal
import time
from typing import TYPE_CHECKING, Final

import structlog

from dstmrouter.daemon.attachment import Attachment, claim
from dstmrouter.daemon.background import Background
from dstmrouter.daemon.filtering import compile_filters
from dstmrouter.daemon.intake import Intake
from dstmrouter.daemon.link_check import check_links
from dstmrouter.daemon.notify import notify
from dstmrouter.daemon.plan import PortPlan, UmemPlan, WorkerPlan
from dstmrouter.daemon.router_control import RouterControl
from dstmrouter.daemon.routing import Routing
from dstmrouter.daemon.shared import SharedTables, Sizes
from dstmrouter.daemon.tunnel_rules import tunnel_rules
from dstmrouter.daemon.usage_control import UsageControl
from dstmrouter.daemon.usage_feed import UsageFeed
from dstmrouter.daemon.watching import Watching
from dstmrouter.daemon.workerpool import WorkerPool
from dstmrouter.errors import DstmError
from dstmrouter.io.blackholes import add_blackhole, remove_blackhole
from dstmrouter.io.netlink import KernelMirror
from dstmrouter.pipeline.binding_writer import BindingWriter
from dstmrouter.pipeline.bindings import covered_blocks
from dstmrouter.pipeline.usage_book import UsageBook
from dstmrouter.zmqctl import ControlServer, CurveClient, CurveServer, FeedFollower, load_keys

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dstmrouter.config.router import FeedSource, RouterConfig
    from dstmrouter.io.kernelstate import Changes

TICK_S: Final = 0.05  # gleaning, soliciting and route changes: far within the second they may take
EXPIRE_S: Final = 1.0
RETAIN_S: Final = 60.0
READY_S: Final = 10.0
_log = structlog.get_logger(__name__)


def spare_cpus(workers: int) -> list[int]:
    """CPUs for workers: all that we may use but the first, if enough remain."""
    cpus = sorted(os.sched_getaffinity(0))
    return cpus[1:] if len(cpus) > workers else cpus


def leave_to_workers(cpus: set[int]) -> None:
    """Keep this process off the CPUs of workers, if there are others."""
    others = os.sched_getaffinity(0) - cpus
    if others:
        os.sched_setaffinity(0, others)


class Supervisor:
    """Everything of one router but the forwarding itself; make it inside the event loop."""

    def __init__(self, config: RouterConfig) -> None:
        self.config = config
        self.clock_zero = time.monotonic()
        self.epoch = secrets.token_bytes(16)  # names this run to who reads usage
        self.filters = compile_filters(config.port)
        self.rules = tunnel_rules(config)  # the same for all workers: it has a secret
        self.pools = [pool.prefix for pool in config.pool]
        blocks = len(covered_blocks(self.pools, int(config.tunnel.tep4))) + 1
        sizes = Sizes(
            workers=config.router.workers,
            blocks=blocks,
            leases=config.table.leases,
            hops=config.table.hops,
            routes=config.table.routes,
            set_slots=config.table.port_sets,
        )
        self.shared = SharedTables.create(sizes)
        tables = self.shared.tables
        self.shared.lay_out(self.pools, int(config.tunnel.tep4))
        self.mirror = KernelMirror(self._kernel_changed)
        ports = {port.addressed_interface: number for number, port in enumerate(config.port)}
        self.routing = Routing(
            self.mirror.state, ports, tables.hops, tables.routes4, self.shared.turns
        )
        self.writer = BindingWriter(
            tables.bindings,
            self.shared.turns,
            config.tunnel.tep6,
            lambda client6: self.routing.resolve6(client6, time.monotonic()),
        )
        self.writer.on_bound = tables.clients6.add
        self.usage = self._usage_book()
        self.intake = Intake(
            tables.bindings, self.writer, self.shared.turns, sizes.spare_rows // 2, self.now_s
        )
        self.followers = [self._follower(feed) for feed in config.feed]
        self.usage_feed: UsageFeed | None = None
        self.attachment: Attachment | None = None
        self.workers: WorkerPool | None = None
        self._generation6 = self.routing.generation6

    def _usage_book(self) -> UsageBook:
        tables, writer = self.shared.tables, self.writer
        book = UsageBook(tables.bindings, tables.usage, writer.owners, time.time)
        writer.on_unbound, writer.spare.on_free = book.leaving, book.freed
        book.turn(on=self.config.worker.usage)
        return book

    def now_s(self) -> int:
        """The router's clock: seconds since it started."""
        return int(time.monotonic() - self.clock_zero)

    async def run(self) -> None:
        """Route until SIGTERM or SIGINT; then undo everything in reverse order."""
        stop = asyncio.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, stop.set)
        async with contextlib.AsyncExitStack() as undo:
            background = Background(undo, stop)
            await self._start(undo, background)
            _log.info("forwarding", router=self.config.router.name, pid=os.getpid())
            notify("READY=1")
            await stop.wait()
            notify("STOPPING=1")
            _log.info("stopping", router=self.config.router.name)
            background.check()

    # Start, in order --------------------------------------------------------------------------

    async def _start(self, undo: contextlib.AsyncExitStack, background: Background) -> None:
        """Discard routes first, traffic last; whatever fails undoes what was done before.

        Raises DstmError if another router has a port of ours, before anything is changed.
        """
        self.config.router.run_dir.mkdir(parents=True, exist_ok=True)
        for interface in dict.fromkeys(port.interface for port in self.config.port):
            undo.enter_context(claim(interface))
        for pool in self.pools:
            add_blackhole(pool)
            undo.callback(remove_blackhole, pool)  # also that of a predecessor that was killed
        background.run(self.mirror.run())
        async with asyncio.timeout(READY_S):
            await self.mirror.ready.wait()
        check_links(self.config, self.routing.port_links())
        self._tick()
        control = self._control()
        undo.callback(control.close)
        background.run(control.run())
        self._start_usage_feed(undo, background)
        self.attachment = attachment = Attachment(self.config.tunnel.tep6, self.pools)
        undo.callback(attachment.close)
        ports = attachment.attach_all(self.config.port, self.config.router.workers)
        plans = self._plans(ports)
        leave_to_workers({plan.cpu for plan in plans})
        self.workers = WorkerPool(plans, self.shared)
        background.run(self.workers.run())
        await self._workers_ready(self.workers)
        for follower in self.followers:
            background.run(follower.run())
        background.run(self._keep_up())
        background.run(self._expire())

    def _start_usage_feed(self, undo: contextlib.AsyncExitStack, background: Background) -> None:
        section = self.config.usage_feed
        if section is not None:
            self.usage_feed = feed = UsageFeed(self, section, self._curve_of(section.bind))
            undo.callback(feed.close)
            background.run(feed.run())

    async def _workers_ready(self, workers: WorkerPool) -> None:
        """Wait for the first notice of every worker, and tell how they opened their ports."""
        deadline = time.monotonic() + READY_S
        for worker in range(self.config.router.workers):
            while not (notice := self.shared.noticeboard.read(worker)):
                if workers.deaths or time.monotonic() > deadline:
                    raise DstmError(f"worker {worker} did not start, see the log above")
                await asyncio.sleep(TICK_S / 10)
            for port, about in zip(self.config.port, notice["ports"], strict=True):
                _log.info(
                    "port open",
                    port=port.name,
                    worker=worker,
                    mode=about["mode"],
                    sends=about["sends"],
                    refused=about["notes"] or None,
                )

    def _plans(self, ports: Sequence[PortPlan]) -> list[WorkerPlan]:
        config = self.config
        cpus = config.router.cpus or spare_cpus(config.router.workers)
        umem = UmemPlan(**config.umem.model_dump())
        return [
            WorkerPlan(
                worker=worker,
                cpu=cpus[worker % len(cpus)],
                parent=os.getpid(),
                clock_zero=self.clock_zero,
                tables_fd=self.shared.fd,
                sizes=self.shared.sizes,
                ports=tuple(
                    dataclasses.replace(port, filter_in=into, filter_out=out)
                    for port, (into, out) in zip(ports, self.filters, strict=True)
                ),
                umem=umem,
                rules=self.rules,
                compiled=config.worker.engine == "compiled",
            )
            for worker in range(config.router.workers)
        ]

    def _control(self) -> ControlServer:
        endpoint = self.config.router.control
        return ControlServer(
            endpoint,
            curve=self._curve_of(endpoint),
            handlers=RouterControl(self).handlers()
            | UsageControl(self).handlers()
            | Watching(self).handlers(),
            on_push=self.intake.apply,
        )

    def _curve_of(self, endpoint: str) -> CurveServer | None:
        """Our keys, and whom we let in, for an endpoint that we bind; None for a local one."""
        curve = self.config.curve
        if curve is None or endpoint.startswith("ipc:"):
            return None
        allowed = {entry.public_key: entry.name for entry in curve.allowed}
        return CurveServer(load_keys(curve.secret_key_file), allowed)

    def _follower(self, feed: FeedSource) -> FeedFollower:
        curve = None
        if feed.server_key is not None and self.config.curve is not None:
            curve = CurveClient(load_keys(self.config.curve.secret_key_file), feed.server_key)
        return FeedFollower(
            name=self.config.router.name,
            source=feed.source,
            feed=feed.feed,
            control=feed.control,
            curve=curve,
            apply=self.intake.apply,
        )

    # Keeping up with the kernel and with time --------------------------------------------------

    def _kernel_changed(self, changes: Changes) -> None:
        self.routing.apply(changes, time.monotonic())
        self._describe_ports()

    def _describe_ports(self) -> None:
        for number, link in self.routing.port_links().items():
            vlan = self.config.port[number].vlan
            self.shared.tables.ports.set(number, mac=link.mac, mtu=link.mtu, vlan=vlan)

    def _tick(self) -> None:
        now = time.monotonic()
        self._describe_ports()
        self.routing.refresh(now)
        if self.routing.generation6 != self._generation6:
            self._generation6 = self.routing.generation6
            self.writer.resolve_again()
        self.routing.glean(self.shared.noticeboard.take_gleaned())
        for ifindex, address in self.routing.to_solicit(now):
            self.mirror.solicit(ifindex, address)
        self.writer.reclaim()

    async def _keep_up(self) -> None:
        retain_at = time.monotonic() + RETAIN_S
        while True:
            self._tick()
            if time.monotonic() >= retain_at:
                retain_at += RETAIN_S
                self.routing.retain6(self.writer.hops_in_use())
                self.shared.tables.clients6.rebuild(self.writer.clients())
            await asyncio.sleep(TICK_S)

    async def _expire(self) -> None:
        while True:
            await asyncio.sleep(EXPIRE_S)
            ended = await self.intake.expire()
            if ended:
                _log.info("bindings expired", count=ended)
