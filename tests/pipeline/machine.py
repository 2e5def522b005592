"""The real pipeline over tables made from a World, fed with octets instead of frames of a ring.

Memory that a burst may not touch is compared with what was there before.
"""

from __future__ import annotations

import functools
import random
from typing import TYPE_CHECKING, ClassVar, Final

import numpy as np

from dstmrouter.pipeline.compiled.forward import CompiledForwarder
from dstmrouter.pipeline.forward import Forwarder
from dstmrouter.pipeline.memory import FrameMemory
from dstmrouter.pipeline.verdict import Verdict
from tests.oracle import Fate
from tests.pipeline.built import tables, tunnel_rules

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt

    from dstmrouter.pipeline.outcome import Made, Outcome
    from tests.pipeline.worlds import World

CHUNK: Final = 2048
HEADROOM: Final = 256  # what the kernel leaves (XDP_PACKET_HEADROOM)
BEHIND: Final = 4096  # as behind the last chunk of a UMEM
BEFORE: Final = 62  # octets before a frame that the widest records need: 40 + 8 + 8 + tag + 2
FRAMES: Final = 1024
FORGOTTEN_S: Final = 1000
SPARE: Final = 2048  # frames for packets that the pipeline makes
NAMES: Final = {verdict.value: verdict.name for verdict in Verdict}


class SparePool:
    """A FrameSource over the chunks from number `first` on."""

    def __init__(self, first: int, frames: int) -> None:
        self.chunk_size = CHUNK
        self.free = [n * CHUNK for n in range(first, first + frames)]

    def __len__(self) -> int:
        return len(self.free)

    def take(self, limit: int) -> npt.NDArray[np.uint64]:
        n = min(limit, len(self.free))
        taken, self.free = self.free[:n], self.free[n:]
        return np.array(taken, np.uint64)

    def give(self, addrs: npt.NDArray[np.uint64]) -> None:
        self.free += [addr // CHUNK * CHUNK for addr in addrs.tolist()]


@functools.lru_cache(maxsize=8)
def leftovers(seed: int, size: int) -> bytes:
    """Random octets: what frame memory holds before it is used. They take longer than all else."""
    return random.Random(seed).randbytes(size)


class Machine:
    """Forwarders and their frame memory; the content of unused octets is left over from before."""

    engine: ClassVar[str] = "numpy"
    """Which forwarder `run` takes; tests/pipeline/conftest.py has tests done with each."""

    def __init__(
        self,
        world: World,
        seed: int = 1,
        frames: int = FRAMES,
        spare: int = SPARE,
        *,
        learns: bool = False,
    ) -> None:
        """With `learns`, Packet Too Big has consequences for later packets (R21)."""
        self.world = world
        self._frames = frames
        self.tables = tables(world)
        if not learns:
            self.tables.path_mtus.learn = lambda *_: False  # type: ignore[method-assign]
        self._random = random.Random(seed)
        self.memory = bytearray(leftovers(seed, (frames + spare) * CHUNK + BEHIND))
        self._before = bytearray(self.memory)
        rules = tunnel_rules(world)
        self.spare = SparePool(frames, spare)
        steps = Forwarder(FrameMemory(self.memory), self.tables, rules, self.spare)
        compiled = CompiledForwarder(self.memory, self.tables, rules, steps)
        self._forwarders = {each.engine: each for each in (steps, compiled)}
        self.outcome: Outcome
        self.made: list[Fate] = []
        """What the last burst made the router send of its own; the frames are free again."""
        self.joined: list[Fate] = []
        """What became of the packets that the last burst made whole, in this order."""
        self.ended: list[str] = []
        """Verdicts of frames that were kept and are free again since the last burst."""
        self.late: list[Fate] = []  # the same
        self._kept: set[int] = set()  # chunks
        self._changing: set[int] = set()  # chunks kept since the memory was last compared

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
            self._before[start : start + len(frame)] = frame
        length = np.array([len(frame) for frame in frames], np.int64)
        forwarder = self._forwarders[self.engine]
        outcome = forwarder.process(np.array(at, np.intp), length, port, now_s)
        self.outcome = outcome
        self._settle(outcome)
        fates = self._fates(outcome, at)
        self._kept |= {
            start // CHUNK
            for start, fate in zip(at, fates, strict=True)
            if Verdict[fate.verdict].kept
        }
        self._check_untouched(at, frames)
        self.made, self.joined, self.ended = [], [], []
        self._finish(outcome, now_s)
        self.late = self.joined
        assert forwarder.held() == len(self._kept)
        if not remember:
            self.pass_time(now_s + FORGOTTEN_S)
            assert not self._kept
        return fates

    def pass_time(self, now_s: int) -> Outcome:
        """Let the forwarder see what time it is; what it sends because of that is lost."""
        outcome = self._forwarders[self.engine].expire(now_s)
        for addrs in (*outcome.released, *(ended.at for ended in outcome.ended)):
            self._free_kept(addrs)
        for made in outcome.made:
            self._take_made(made)
        assert self._forwarders[self.engine].held() == len(self._kept)
        return outcome

    def expire(self, now_s: int) -> None:
        """Let time pass."""
        self.made, self.joined, self.ended = [], [], []
        forwarder = self._forwarders[self.engine]
        self._finish(forwarder.expire(now_s), now_s)
        assert forwarder.held() == len(self._kept)

    def _finish(self, outcome: Outcome, now_s: int) -> None:
        """Everything in an outcome but what became of the burst itself, as the engine does it."""
        forwarder = self._forwarders[self.engine]
        self.made += [fate for made in outcome.made for fate in self._take_made(made)]
        for ended in outcome.ended:
            self.ended += [NAMES[number] for number in ended.verdicts.tolist()]
        for addrs in (*outcome.released, *(ended.at for ended in outcome.ended)):
            self._free_kept(addrs)
        for late in outcome.late:
            self._free_kept(late.at)
            again = forwarder.process(late.at, late.length, late.port, now_s)
            self._settle(again)
            self.joined += self._fates(again, late.at.tolist())
            self._finish(again, now_s)

    def _settle(self, outcome: Outcome) -> None:
        """All that the pipeline sends, a port here takes."""
        for charge in outcome.charges:
            charge.settle(self.tables.usage.values[0], outcome.verdicts)

    def _free_kept(self, addrs: npt.NDArray[np.intp]) -> None:
        chunks = (addrs // CHUNK).tolist()
        assert len(set(chunks)) == len(chunks)
        assert self._kept.issuperset(chunks), "a frame was given back that was not kept"
        self._kept.difference_update(chunks)

    def _check_untouched(self, at: Sequence[int], frames: Sequence[bytes]) -> None:
        """Nothing but frames, the headroom they need, kept and spare ones has changed.

        `_before` is the memory as it was when it was last compared: copying what may have changed
        costs less than copying all of it for every burst.
        """
        self._changing |= self._kept
        ours = [slice(chunk * CHUNK, (chunk + 1) * CHUNK) for chunk in self._changing]
        ours += [
            slice(start - BEFORE, start + len(frame))
            for start, frame in zip(at, frames, strict=True)
        ]
        for changed in ours:
            self._before[changed] = self.memory[changed]
        self._changing = set(self._kept)
        now, before = np.frombuffer(self.memory, np.uint64), np.frombuffer(self._before, np.uint64)
        for part in (slice(self._frames * CHUNK // 8), slice(-BEHIND // 8, None)):
            assert np.array_equal(now[part], before[part])

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
