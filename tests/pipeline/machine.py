"""The real pipeline over tables made from a World, fed with octets instead of frames of a ring.

Memory that a burst may not touch is compared with what was there before.
"""

from __future__ import annotations

import dataclasses
import mmap
import random
from ipaddress import IPv6Address
from typing import TYPE_CHECKING, ClassVar, Final

import numpy as np

from dstmrouter.binding import LIFETIME_FOREVER, BindingColumns, full_address_columns, words6
from dstmrouter.pipeline.binding_writer import BindingWriter
from dstmrouter.pipeline.bindings import FIXED_ROWS, BindingTable, covered_blocks
from dstmrouter.pipeline.compiled.forward import CompiledForwarder
from dstmrouter.pipeline.forward import Forwarder
from dstmrouter.pipeline.hops import HopState, HopTable
from dstmrouter.pipeline.memory import FrameMemory
from dstmrouter.pipeline.outcome import Tables
from dstmrouter.pipeline.ports import PortTable
from dstmrouter.pipeline.prefixes import Span, intervals4
from dstmrouter.pipeline.quiescence import Turns
from dstmrouter.pipeline.routes4 import Routes4
from dstmrouter.pipeline.rules import TunnelRules
from dstmrouter.pipeline.verdict import Verdict
from tests.oracle import Fate

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt

    from dstmrouter.binding import Words6
    from dstmrouter.pipeline.outcome import Late, Made, Outcome
    from tests.pipeline.worlds import BindingSpec, World

CHUNK: Final = 2048
HEADROOM: Final = 256  # what the kernel leaves (XDP_PACKET_HEADROOM)
BEHIND: Final = 4096  # as behind the last chunk of a UMEM
BEFORE: Final = 44  # octets before a frame that the widest tunnel header needs: 40, and one tag
FRAMES: Final = 1024
FORGOTTEN_S: Final = 1000
SPARE: Final = 2048  # frames for packets that the pipeline makes
NAMES: Final = {verdict.value: verdict.name for verdict in Verdict}


def binding_columns(world: World) -> BindingColumns:
    """The bindings of a world, with lifetimes counted from time 0."""
    sets = [
        (client4, divided, psid, spec)
        for client4, divided in world.shared.items()
        for psid, spec in divided.holders.items()
    ]
    held = [*world.bindings.items(), *((client4, spec) for client4, _, _, spec in sets)]
    specs = [spec for _, spec in held]
    columns = full_address_columns(
        np.array([int(client4) for client4, _ in held], np.uint32),
        words6([spec.client6 for spec in specs]),
        lifetime_s=np.array([_lifetime(spec) for spec in specs], np.uint32),
        tep6=world.rules.tep6,
        tep=np.array([spec.tep for spec in specs], np.uint8),
    )
    whole = len(world.bindings)
    columns.psid_offset[whole:] = [divided.offset for _, divided, _, _ in sets]
    columns.psid_len[whole:] = [divided.length for _, divided, _, _ in sets]
    columns.psid[whole:] = [psid for _, _, psid, _ in sets]
    return columns


def _lifetime(spec: BindingSpec) -> int:
    return LIFETIME_FOREVER if spec.expires == float("inf") else int(spec.expires)


def tables(world: World) -> Tables:
    """The tables of a router that knows `world`."""
    return Tables(_bindings(world), _routes(world), _hops(world), _ports(world))


def _bindings(world: World) -> BindingTable:
    tep4 = None if world.rules.tep4 is None else int(world.rules.tep4)
    columns = binding_columns(world)
    blocks = len(covered_blocks(world.pools, tep4)) + 1
    rows = FIXED_ROWS + len(columns) + len(world.shared)
    sizes = blocks, rows, sum(1 << divided.length for divided in world.shared.values())
    # Zeroed pages that nobody touches cost nothing: the directory alone has 64 MiB.
    table = BindingTable(mmap.mmap(-1, sum(BindingTable.sizes(*sizes))), *sizes)
    table.lay_out(world.pools, tep4)
    hops = {spec.client6: spec.hop for spec in world.bindings.values()}
    for divided in world.shared.values():
        hops |= {spec.client6: spec.hop for spec in divided.holders.values()}

    def hops_of(client6: Words6) -> npt.NDArray[np.uint32]:
        return np.array([hops[IPv6Address(row.tobytes())] for row in client6], np.uint32)

    writer = BindingWriter(table, Turns(bytearray(Turns.size(1)), 1), world.rules.tep6, hops_of)
    result = writer.apply("server", columns, 0)
    assert result.applied == len(columns), result.reasons
    return table


def _routes(world: World) -> Routes4:
    spans = [
        Span(int(net.network_address), int(net.broadcast_address), hop)
        for net, hop in world.routes.items()
    ]
    compiled = intervals4(spans)
    routes = Routes4(bytearray(Routes4.size(len(compiled))), len(compiled))
    routes.publish(compiled.starts, compiled.values)
    return routes


def _hops(world: World) -> HopTable:
    hops = HopTable(np.zeros(max(world.hops) + 1, np.uint64))
    hops.lay_out()
    for number, spec in world.hops.items():
        hops.set(number, spec.mac, spec.port, HopState[spec.state.upper()])
    return hops


def _ports(world: World) -> PortTable:
    ports = PortTable(bytearray(PortTable.SIZE))
    for number, port in enumerate(world.ports):
        ports.set(number, mac=port.mac, mtu=port.mtu, vlan=port.vlan)
    return ports


class SparePool:
    """A FrameSource over the chunks from number `first` on."""

    def __init__(self, first: int, frames: int) -> None:
        self.free = [n * CHUNK for n in range(first, first + frames)]

    def __len__(self) -> int:
        return len(self.free)

    def take(self, limit: int) -> npt.NDArray[np.uint64]:
        n = min(limit, len(self.free))
        taken, self.free = self.free[:n], self.free[n:]
        return np.array(taken, np.uint64)

    def give(self, addrs: npt.NDArray[np.uint64]) -> None:
        self.free += [addr // CHUNK * CHUNK for addr in addrs.tolist()]


class Machine:
    """Forwarders and their frame memory; the content of unused octets is left over from before."""

    engine: ClassVar[str] = "numpy"
    """Which forwarder `run` takes; tests/pipeline/conftest.py has tests done with each."""

    def __init__(
        self, world: World, seed: int = 1, frames: int = FRAMES, spare: int = SPARE
    ) -> None:
        self.world = world
        self._frames = frames
        self.tables = tables(world)
        self._random = random.Random(seed)
        self.memory = bytearray(self._random.randbytes((frames + spare) * CHUNK + BEHIND))
        self.octets = np.frombuffer(self.memory, np.uint8)
        rules = TunnelRules(**dataclasses.asdict(world.rules), icmp=world.icmp)
        self.spare = SparePool(frames, spare)
        steps = Forwarder(FrameMemory(self.memory), self.tables, rules, self.spare)
        compiled = CompiledForwarder(self.memory, self.tables, rules, steps)
        self._forwarders = {each.engine: each for each in (steps, compiled)}
        self.outcome: Outcome
        self.made: list[Fate] = []
        """What the last burst made the router send of its own; the frames are free again."""
        self.late: list[Fate] = []
        """What became of frames that the last burst set free."""
        self._kept: set[int] = set()

    def run(
        self,
        frames: Sequence[bytes],
        port: int,
        now_s: int,
        shift: int = 0,
        *,
        remember: bool = False,
    ) -> list[Fate]:
        """Process one burst; frames start up to `shift` octets later than the kernel puts them.

        Nothing is left over from it for the next one, if the forwarder is not to `remember`.
        """
        free = sorted(set(range(self._frames)) - self._kept)
        chunks = self._random.sample(free, len(frames))
        at = [n * CHUNK + HEADROOM + self._random.randint(0, shift) for n in chunks]
        for start, frame in zip(at, frames, strict=True):
            assert start % CHUNK + len(frame) <= CHUNK
            self.memory[start : start + len(frame)] = frame
        before = self.octets.copy()
        length = np.array([len(frame) for frame in frames], np.int64)
        forwarder = self._forwarders[self.engine]
        outcome = forwarder.process(np.array(at, np.intp), length, port, now_s)
        self._check_untouched(before, at, frames)
        self.outcome = outcome
        self.made = [fate for made in outcome.made for fate in self._take_made(made)]
        fates = self._fates(outcome, at)
        self._keep(at, fates)
        self.late = [fate for late in outcome.late for fate in self._work_late(late, now_s)]
        if not remember:
            self.pass_time(now_s + FORGOTTEN_S)
            assert not self._kept
        return fates

    def pass_time(self, now_s: int) -> Outcome:
        """Let the forwarder see what time it is."""
        outcome = self._forwarders[self.engine].expire(now_s)
        self._kept -= {at // CHUNK for released in outcome.released for at in released.tolist()}
        assert len(self._kept) == self._forwarders[self.engine].held()
        return outcome

    def _keep(self, at: Sequence[int], fates: Sequence[Fate]) -> None:
        kept = [start for start, fate in zip(at, fates, strict=True) if Verdict[fate.verdict].kept]
        self._kept |= {start // CHUNK for start in kept}

    def _work_late(self, late: Late, now_s: int) -> list[Fate]:
        at = late.at.tolist()
        self._kept -= {start // CHUNK for start in at}
        outcome = self._forwarders[self.engine].process(late.at, late.length, late.port, now_s)
        fates = self._fates(outcome, at)
        self._keep(at, fates)
        return fates

    def _check_untouched(
        self, before: npt.NDArray[np.uint8], at: Sequence[int], frames: Sequence[bytes]
    ) -> None:
        """Nothing but the frames and the headroom they need has changed."""
        now = self.octets.copy()
        for start, frame in zip(at, frames, strict=True):
            ours = slice(start - BEFORE, start + len(frame))
            now[ours] = before[ours]
        spare = slice(self._frames * CHUNK, len(self.octets) - BEHIND)
        now[spare] = before[spare]
        assert np.array_equal(now, before)

    def _take_made(self, made: Made) -> list[Fate]:
        frames = [
            bytes(self.memory[start : start + length])
            for start, length in zip(made.at.tolist(), made.length.tolist(), strict=True)
        ]
        self.spare.give(made.at.astype(np.uint64))
        names = [NAMES[number] for number in made.verdicts.tolist()]
        return [Fate(name, made.port, frame) for name, frame in zip(names, frames, strict=True)]

    def _fates(self, outcome: Outcome, at: Sequence[int]) -> list[Fate]:
        fates = [Fate(NAMES[number]) for number in outcome.verdicts.tolist()]
        for send in outcome.sends:
            rows, starts, lengths = send.rows.tolist(), send.at.tolist(), send.length.tolist()
            for row, start, length in zip(rows, starts, lengths, strict=True):
                assert fates[row].frame is None, "a frame was sent twice"
                assert start // CHUNK == at[row] // CHUNK
                frame = bytes(self.memory[start : start + length])
                fates[row] = Fate(fates[row].verdict, send.port, frame)
        return fates
