"""A live mirror of the kernel's links, addresses, routes and neighbours.

The kernel stays the router: it speaks ARP and Neighbor Discovery, and routing daemons install their
routes there. The mirror subscribes to its notices first and asks for everything second; whenever
notices were lost (ENOBUFS) or leave a doubt (`dstmrouter.io.kernelstate`), it asks again.
"""

from __future__ import annotations

import asyncio
import errno
from collections import Counter
from typing import TYPE_CHECKING, Final

from dstmrouter.errors import SystemCallError
from dstmrouter.io import rtdecode, rtnetlink
from dstmrouter.io.kernelobjects import Part
from dstmrouter.io.kernelstate import ROUTES, Changes, KernelState

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable

    from dstmrouter.io.kernelobjects import IpAddress, KernelObject, Notice
    from dstmrouter.io.rtnetlink import Message

READS_PER_TURN: Final = 64  # datagrams; then the rest of the process has its turn
RESYNC_DELAY_S: Final = 0.02  # a link that goes down raises many doubts at once
RETRY_DELAY_S: Final = 0.5  # after a dump that failed or was interrupted by changes
SOLICITS_PER_S: Final = 1000  # 60 us each
SOLICIT_BURST: Final = 200


class KernelMirror:
    """Keeps `state`; calls `on_changes` in the event loop, after `state` has the changes.

    `counters`: notices, undecodable, overruns, resyncs, failed_dumps, refused (by the kernel, e.g.
    a full neighbour table), unsent (solicitations over the rate).
    """

    def __init__(self, on_changes: Callable[[Changes], None]) -> None:
        self.state = KernelState()
        self.ready = asyncio.Event()  # everything has been asked for once
        self.counters: Counter[str] = Counter()
        self._on_changes = on_changes
        self._decoder = rtnetlink.Decoder()
        self._doubt = asyncio.Event()
        self._never_asked = set(Part)
        self._dumping: Part | None = None
        self._meanwhile: list[Notice] = []  # about the part that is being dumped
        self._notices: socket.socket | None = None
        self._tokens = float(SOLICIT_BURST)
        self._tokens_at = 0.0

    async def run(self) -> None:
        """Mirror until cancelled. Raises OSError if there is no rtnetlink."""
        loop = asyncio.get_running_loop()
        with rtnetlink.notice_socket() as notices:
            self._notices = notices
            loop.add_reader(notices, self._read)
            try:
                self._doubt.set()
                while True:
                    await self._doubt.wait()
                    self._doubt.clear()
                    await asyncio.sleep(RESYNC_DELAY_S)
                    await self._resync()
                    if not self._never_asked:
                        self.ready.set()
            finally:
                loop.remove_reader(notices)
                self._notices = None

    def solicit(self, ifindex: int, ip: IpAddress) -> bool:
        """Have the kernel resolve a neighbour, or confirm one; False if that was too much.

        The kernel sends ARP requests or neighbour solicitations if it has to; what comes of it
        comes as a change.
        """
        if self._notices is None or not self._take_token():
            self.counters["unsent"] += 1
            return False
        try:
            self._notices.send(rtnetlink.solicitation(ifindex, ip))
        except OSError:  # interface gone, or no memory: the next try has another chance
            self.counters["refused"] += 1
            return False
        return True

    def _take_token(self) -> bool:
        now = asyncio.get_running_loop().time()
        earned = (now - self._tokens_at) * SOLICITS_PER_S
        self._tokens = min(self._tokens + earned, float(SOLICIT_BURST))
        self._tokens_at = now
        if self._tokens < 1:
            return False
        self._tokens -= 1
        return True

    # Notices ----------------------------------------------------------------------------------

    def _read(self) -> None:
        """Take what the kernel has sent, up to a limit; the loop calls again for the rest."""
        changes = Changes()
        for _ in range(READS_PER_TURN):
            datagram = self._receive()
            if datagram is None:
                break
            for message in self._decoder.messages(datagram):
                self._take_message(message, changes)
        self._deliver(changes)

    def _receive(self) -> bytes | None:
        assert self._notices is not None
        try:
            datagram, (port, _) = self._notices.recvfrom(rtnetlink.RECEIVE_LEN)
        except BlockingIOError:
            return None
        except OSError as error:
            if error.errno != errno.ENOBUFS:
                raise
            self.counters["overruns"] += 1
            self.state.doubtful.update(Part)
            return b""
        return datagram if port == 0 else b""  # port 0 is the kernel

    def _take_message(self, message: Message, changes: Changes) -> None:
        kind = message["header"]["type"]
        if kind == rtnetlink.NLMSG_ERROR:  # the answer to a solicitation that failed
            self.counters["refused"] += 1
            return
        if kind in (rtnetlink.RTM_NEWNEXTHOP, rtnetlink.RTM_DELNEXTHOP):
            self.state.doubtful |= ROUTES  # any number of routes may share the nexthop object
            return
        self.counters["notices"] += 1
        try:
            notice = rtdecode.decode(message)
        except ValueError:
            self.counters["undecodable"] += 1
            return
        if notice is None:
            return
        if self._dumping is not None and notice.part is self._dumping:
            self._meanwhile.append(notice)
        else:
            self.state.apply(notice, changes)

    def _deliver(self, changes: Changes) -> None:
        if self.state.doubtful:
            self._doubt.set()
        if changes:
            self._on_changes(changes)

    # Dumps ------------------------------------------------------------------------------------

    async def _resync(self) -> None:
        """Ask for every doubtful part again; try later what does not succeed."""
        for part in [p for p in Part if p in self.state.doubtful]:
            self.counters["resyncs"] += 1
            self.state.doubtful.discard(part)
            changes = Changes()
            if await self._resync_part(part, changes):
                self._never_asked.discard(part)
            else:
                self.counters["failed_dumps"] += 1
                self.state.doubtful.add(part)
                await asyncio.sleep(RETRY_DELAY_S)
            self._deliver(changes)

    async def _resync_part(self, part: Part, changes: Changes) -> bool:
        """Replace one part; the notices that came meanwhile are replayed on top.

        They may be older than the dump. Replaying them all ends in the present state even so, or
        in a new doubt.
        """
        self._dumping = part
        try:
            objects, complete = await asyncio.to_thread(_objects, part)
        except SystemCallError:
            objects, complete = None, False
        finally:
            self._dumping = None
        if objects is not None:
            self.state.replace(part, objects, changes)
        for notice in self._meanwhile:
            self.state.apply(notice, changes)
        self._meanwhile.clear()
        return complete


def _objects(part: Part) -> tuple[list[KernelObject], bool]:
    """Dump and decode `part` (in a thread: a large routing table takes seconds).

    The second is false if the kernel's tables changed meanwhile, so that something may be missing.
    """
    objects: list[KernelObject] = []
    complete = True
    for message in rtnetlink.dump(part):
        complete &= not message["header"]["flags"] & rtnetlink.NLM_F_DUMP_INTR
        try:
            notice = rtdecode.decode(message)
        except ValueError:
            continue  # the same object that would be counted as a notice
        if notice is not None:
            objects.append(notice.about)
    return objects, complete
