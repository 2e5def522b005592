"""The writer against a dict: several sources, snapshots, expiry, full tables."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Final

import numpy as np
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from dstmrouter.binding import OP_PUT, OP_REMOVE, address6
from dstmrouter.pipeline.binding_writer import NO_OWNER
from dstmrouter.pipeline.bindings import FIXED_ROWS, RowKind
from tests.pipeline.test_binding_writer import CLIENTS, POOL, Setup, puts, removals

if TYPE_CHECKING:
    from ipaddress import IPv4Address, IPv6Address

ROWS: Final = 6
ADDRESSES: Final = [POOL[n] for n in range(2, 12)]
SOURCES: Final = ("server-1", "server-2", "pusher")

sources = st.sampled_from(SOURCES)
addresses = st.sampled_from(ADDRESSES)
pairs = st.tuples(addresses, st.sampled_from(CLIENTS))


@dataclasses.dataclass
class Held:
    source: str
    client6: IPv6Address
    expires: int


class Sources(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.setup_ = Setup(ROWS)
        self.writer = self.setup_.writer
        self.held: dict[IPv4Address, Held] = {}
        self.now = 0

    def _foreign(self, source: str, address: IPv4Address) -> bool:
        return address in self.held and self.held[address].source != source

    @rule(
        source=sources,
        wanted=st.dictionaries(addresses, st.sampled_from(CLIENTS)),
        lifetime=st.sampled_from([5, 500]),
    )
    def put(self, source: str, wanted: dict[IPv4Address, IPv6Address], lifetime: int) -> None:
        result = self.writer.apply(source, puts(*wanted.items(), lifetime=lifetime), self.now)
        mine = {a: c for a, c in wanted.items() if not self._foreign(source, a)}
        assert result.reasons.get("address bound by another source", 0) == len(wanted) - len(mine)
        done = {a: c for a, c in mine.items() if self._found(a) == c}
        full = result.reasons.get("table full", 0)
        assert len(done) >= result.applied
        assert result.applied + full == len(mine)
        for address, client6 in done.items():
            expires = int(self.setup_.row(address)["expires"])
            if full:  # which of them did not fit is the writer's choice: what it kept is unchanged
                known = self.held.get(address)
                assert expires == self.now + lifetime or (known and expires == known.expires)
            else:
                assert expires == self.now + lifetime
            self.held[address] = Held(source, client6, expires)

    @rule(source=sources, gone=st.lists(addresses, unique=True))
    def remove(self, source: str, gone: list[IPv4Address]) -> None:
        result = self.writer.apply(source, removals(*gone), self.now)
        mine = [address for address in gone if not self._foreign(source, address)]
        assert (result.applied, result.refused) == (len(mine), len(gone) - len(mine))
        for address in mine:
            self.held.pop(address, None)

    @rule(source=sources, kept=st.sets(addresses))
    def snapshot_ends(self, source: str, kept: set[IPv4Address]) -> None:
        slots = np.array([self.setup_.slot(address) for address in kept], np.uint32)
        lost = [a for a, held in self.held.items() if held.source == source and a not in kept]
        assert self.writer.replace(source, slots) == len(lost)
        for address in lost:
            del self.held[address]

    @rule(seconds=st.sampled_from([0, 1, 4, 5, 300]))
    def time_passes(self, seconds: int) -> None:
        self.now += seconds
        over = [address for address, held in self.held.items() if held.expires <= self.now]
        assert self.writer.expire(self.now) == len(over)
        for address in over:
            del self.held[address]

    @rule(works=st.booleans())
    def worker(self, *, works: bool) -> None:
        (self.setup_.turns.begin if works else self.setup_.turns.end)(0)

    def _found(self, address: IPv4Address) -> IPv6Address | None:
        row = self.setup_.row(address)
        return address6(row["client6"]) if row["kind"] == RowKind.BOUND else None

    @invariant()
    def table_is_the_dict(self) -> None:
        for address in ADDRESSES:
            held = self.held.get(address)
            assert self._found(address) == (held.client6 if held else None)
            if held:
                assert self.setup_.row(address)["expires"] == held.expires
        slots = np.array([self.setup_.slot(address) for address in ADDRESSES], np.uint32)
        owners = [self.held[a].source if a in self.held else "" for a in ADDRESSES]
        assert self.writer.source_of(slots) == owners
        assert self.writer.bound == len(self.held) == len(self.writer.bound_slots())

    @invariant()
    def no_row_has_two_owners(self) -> None:
        waiting = self.writer.reclaim()
        used = self.setup_.table.slots[self.writer.bound_slots()].tolist()
        free = self.writer.spare.free_rows.tolist()
        assert len(set(used) | set(free)) == len(used) + len(free) == ROWS - waiting
        assert min([*used, *free], default=FIXED_ROWS) >= FIXED_ROWS

    @invariant()
    def sums_of_sources(self) -> None:
        counts = [self.writer.owned_by(source) for source in SOURCES]
        assert sum(counts) == len(self.held)


TestSources = Sources.TestCase
TestSources.settings = settings(max_examples=60, stateful_step_count=25)


def test_operations_and_owners_have_the_numbers_the_writer_relies_on() -> None:
    assert (OP_REMOVE, OP_PUT, NO_OWNER) == (0, 1, 0)
