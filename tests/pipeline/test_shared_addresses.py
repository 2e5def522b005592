"""The writer with port sets against a dict: several sources, shapes, snapshots, expiry."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Final

import numpy as np
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from dstmrouter.pipeline.bindings import FIXED_ROWS, RowKind
from tests.pipeline.port_set_changes import WHOLE, Wish, columns, found, gone
from tests.pipeline.test_binding_writer import CLIENTS, POOL, Setup

if TYPE_CHECKING:
    from ipaddress import IPv4Address, IPv6Address

ROWS: Final = 64
SET_SLOTS: Final = 64
ADDRESSES: Final = [POOL[n] for n in range(2, 6)]
SHAPES: Final = (WHOLE, (0, 1), (6, 1), (0, 3))
SOURCES: Final = ("server-1", "server-2")

sources = st.sampled_from(SOURCES)
wishes = st.builds(
    Wish,
    st.sampled_from(ADDRESSES),
    st.sampled_from([0, 1, 1, 5]),
    st.sampled_from(CLIENTS),
    st.sampled_from(SHAPES),
).filter(lambda wish: wish.psid >> wish.shape[1] == 0)


@dataclasses.dataclass
class Held:
    source: str
    client6: IPv6Address
    shape: tuple[int, int]
    expires: int


class PortSets(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.setup_ = Setup(ROWS, set_slots=SET_SLOTS)
        self.writer = self.setup_.writer
        self.held: dict[tuple[IPv4Address, int], Held] = {}
        self.now = 0

    def _allowed(self, source: str, wish: Wish, *, displace: bool) -> bool:
        here = {psid: held for (a, psid), held in self.held.items() if a == wish.address}
        if wish.psid in here and here[wish.psid].source != source:
            return False
        if not here or next(iter(here.values())).shape == wish.shape:
            return True
        own = all(held.source == source for held in here.values())
        return own and (displace or set(here) <= {wish.psid})

    @rule(source=sources, wish=wishes, lifetime=st.sampled_from([5, 500]), displace=st.booleans())
    def put(self, source: str, wish: Wish, lifetime: int, *, displace: bool) -> None:
        changes = columns(wish, lifetime=lifetime)
        result = self.writer.apply(source, changes, self.now, displace=displace)
        allowed = self._allowed(source, wish, displace=displace)
        if "no room for port sets" in result.reasons:
            assert allowed
            assert self.writer.spare.free_set_slots < SET_SLOTS - 3 * 8
            allowed = False
            if any(h.shape != wish.shape for (a, _), h in self.held.items() if a == wish.address):
                self._forget(wish.address)
        assert (result.applied, result.refused) == ((1, 0) if allowed else (0, 1))
        if allowed:
            shapes = {h.shape for (a, _), h in self.held.items() if a == wish.address}
            if shapes - {wish.shape}:
                self._forget(wish.address)
            held = Held(source, wish.client6, wish.shape, self.now + lifetime)
            self.held[wish.address, wish.psid] = held

    def _forget(self, address: IPv4Address) -> None:
        self.held = {name: held for name, held in self.held.items() if name[0] != address}

    @rule(source=sources, wish=wishes)
    def remove(self, source: str, wish: Wish) -> None:
        result = self.writer.apply(source, gone(wish), self.now)
        held = self.held.get((wish.address, wish.psid))
        foreign = held is not None and held.source != source
        assert (result.applied, result.refused) == ((0, 1) if foreign else (1, 0))
        if not foreign:
            self.held.pop((wish.address, wish.psid), None)

    @rule(source=sources, keep=st.lists(st.integers(0, 20)))
    def snapshot_ends(self, source: str, keep: list[int]) -> None:
        names = list(self.held)
        kept = [names[n] for n in keep if n < len(names)]
        slots = np.array([self.setup_.slot(address) for address, _ in kept], np.uint32)
        psids = np.array([psid for _, psid in kept], np.uint16)
        mine = [name for name in names if self.held[name].source == source]
        lost = [name for name in mine if name not in kept]
        assert self.writer.replace(source, self.writer.places(slots, psids)) == len(lost)
        for name in lost:
            del self.held[name]

    @rule(seconds=st.sampled_from([0, 1, 4, 5, 300]))
    def time_passes(self, seconds: int) -> None:
        self.now += seconds
        over = [name for name, held in self.held.items() if held.expires <= self.now]
        assert self.writer.expire(self.now) == len(over)
        for name in over:
            del self.held[name]

    @rule(works=st.booleans())
    def worker(self, *, works: bool) -> None:
        (self.setup_.turns.begin if works else self.setup_.turns.end)(0)

    @invariant()
    def table_is_the_dict(self) -> None:
        for address in ADDRESSES:
            here = {psid: h.client6 for (a, psid), h in self.held.items() if a == address}
            assert found(self.setup_, address) == (here or None)
        assert self.writer.bound == len(self.held) == len(self.writer.bound_slots())
        for source in SOURCES:
            owned = sum(held.source == source for held in self.held.values())
            assert self.writer.owned_by(source) == owned

    @invariant()
    def words_say_what_the_rows_say(self) -> None:
        table = self.setup_.table
        numbers = table.slots[: table.first_set_slot]
        shared = np.flatnonzero(table.rows["kind"][numbers] == RowKind.SHARED)
        expected = np.zeros_like(table.divided)
        expected[shared] = table.divisions(table.rows[numbers[shared]])
        assert table.divided.tolist() == expected.tolist()

    @invariant()
    def nothing_is_lost(self) -> None:
        waiting = self.writer.reclaim()
        table, spare = self.setup_.table, self.writer.spare
        slots = np.array([self.setup_.slot(address) for address in ADDRESSES], np.uint32)
        named = table.slots[np.unique(np.append(slots, self.writer.bound_slots()))]
        used = named[named >= FIXED_ROWS].tolist()
        free = spare.free_rows.tolist()
        assert len(set(used) | set(free)) == len(used) + len(free) == ROWS - waiting
        shapes = {a: held.shape[1] for (a, _), held in self.held.items() if held.shape[1]}
        assert table.shared[0] == len(shapes)
        if not waiting:
            assert spare.free_set_slots == SET_SLOTS - sum(1 << k for k in shapes.values())


TestPortSets = PortSets.TestCase
TestPortSets.settings = settings(max_examples=60, stateful_step_count=30)
