"""What the kernels work on: addresses of tables, rules and columns, as two tuples of numbers.

Nothing is copied but rules and ports: the addresses are those of the shared tables themselves. The
tuples exist in compiled code only, which makes them from arrays of their fields (`numbers`): Numba
takes 0.2 us to pass each field of a tuple, and as much for a whole array.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np
import numpy.typing as npt

from dstmrouter.jit.functions import address
from dstmrouter.pipeline import flow
from dstmrouter.pipeline.encap import first_words
from dstmrouter.pipeline.ports import MAX_PORTS, PORT
from dstmrouter.wire import ether

if TYPE_CHECKING:
    from dstmrouter.pipeline.bindings import BindingTable
    from dstmrouter.pipeline.limits import Standing
    from dstmrouter.pipeline.memory import Octets
    from dstmrouter.pipeline.outcome import Tables
    from dstmrouter.pipeline.rules import TunnelRules

NO_PORT: Final = 0xFF
LINK: Final = np.dtype(
    [
        ("mac", "<u8"),  # six octets as on the wire
        ("vlan", "<u8"),  # 0 = untagged
        ("tag", "<u8"),  # the four octets of the 802.1Q tag as on the wire
        ("mtu", "<u8"),
    ]
)


LEFT, WITHOUT_TOKENS, ALL = range(3)
"""Which packets to nobody end in the pass: of `REFUSALS.which`."""
REFUSALS: Final = np.dtype(
    [
        ("which", "<u8"),
        ("count", "<u8"),  # how many of the last burst did
        ("unsent", "<u8"),  # whether they are counted as unsent errors, too
        # As in `limits.Standing`:
        ("now", "<i8"),
        ("empty", "<u8"),  # address
        ("step", "<i8"),
        ("key", "<u8"),
        ("mix", "<u8"),
        ("host_bits", "<u8"),
    ]
)
CALL: Final = np.dtype(
    [
        ("world", "<u8"),  # addresses of the `numbers` of `Views` and `Columns`
        ("columns", "<u8"),
        ("vlan", "<u8"),  # of the port by which a burst comes; 0 = untagged
        ("now_s", "<u8"),
        # What comes of it:
        ("only_port", "<u8"),  # by which all leave that do: see `burst.forward`
        ("octets", "<u8"),  # of all frames of the burst
    ]
)
"""What goes with a call of the pass from Python: to pass it so costs Numba 0.1 us less."""


class World(NamedTuple):
    """All that a kernel may look at besides the burst; uint64 each, addresses if not said else."""

    frames: np.uint64
    directory: np.uint64  # the binding table, as `dstmrouter.pipeline.bindings` describes it
    slots: np.uint64
    rows: np.uint64
    divided: np.uint64
    set_slots: np.uint64  # those of port sets
    shared: np.uint64  # 32 bits: how many addresses are shared
    hops: np.uint64  # as `dstmrouter.pipeline.hops`
    route_starts: np.uint64  # as `dstmrouter.pipeline.routes4`
    route_hops: np.uint64
    route_active: np.uint64
    route_counts: np.uint64
    route_capacity: np.uint64  # a number
    links: np.uint64  # MAX_PORTS records LINK
    teps: np.uint64  # wire words, in the order of the bindings' `tep`
    tep_count: np.uint64  # a number
    first_words: np.uint64  # 256 words by inner TOS
    port_weights: np.uint64  # 256 words by protocol
    multiplier_1: np.uint64  # numbers from here on
    multiplier_2: np.uint64
    hashed_label: np.uint64  # 0: all have the label that `first_words` holds already
    hop_limit: np.uint64
    largest: np.uint64  # octets of an inner packet that needs no fragmentation
    overhead: np.uint64  # octets that encapsulation adds
    clamps: np.uint64  # SYNs are left to the numpy steps, which clamp their MSS
    path_mtus: np.uint64  # address of the table, as `dstmrouter.pipeline.pathmtu`
    path_mtu_entries: np.uint64  # address
    hairpin: np.uint64
    counts_usage: np.uint64  # address: whether usage is counted, as `dstmrouter.pipeline.usage`
    usage: np.uint64  # octets from a row to its record of usage in this worker's line


class Burst(NamedTuple):
    """A burst of `size` frames: addresses of its columns, 64-bit words if not said else.

    The first three come with each burst, the others are those of `Columns`.
    """

    at: np.uint64  # octet of frame memory where the frame starts
    length: np.uint64
    size: np.uint64
    inner_at: np.uint64  # address of the IPv4 header; 0: left to the numpy steps
    row: np.uint64  # address of the row that speaks of the leased address
    verdict: np.uint64  # octets
    port: np.uint64  # octets: by which it leaves, or NO_PORT
    new_at: np.uint64
    new_length: np.uint64
    rest: np.uint64  # the frames that were left, ascending
    turned: np.uint64  # of hairpinned packets: address of the row of the client they go to
    refusals: np.uint64  # a record REFUSALS


COMING: Final = 3  # fields of `Burst` that are not of `Columns`


class Views:
    """Makes `World`s for one worker, and keeps what they point to."""

    def __init__(self, buffer: Octets, tables: Tables, rules: TunnelRules, worker: int = 0) -> None:
        self._links = np.zeros(MAX_PORTS, LINK)
        self._frames = np.frombuffer(buffer, np.uint8)
        self._tables = tables
        words = np.frombuffer(b"".join(a.packed for a in rules.tep6), "<u8")
        self._teps = np.ascontiguousarray(words)
        self._first_words = first_words(rules) | np.uint64(rules.flow_label or 0)
        routes = tables.routes4
        multiplier_1, multiplier_2 = (np.uint64(part | 1) for part in rules.flow_key)
        world = World(
            address(self._frames),
            *_of_bindings(tables.bindings),
            address(tables.hops.words),
            address(routes.starts),
            address(routes.hops),
            address(routes.active),
            address(routes.counts),
            np.uint64(routes.capacity),
            address(self._links),
            address(self._teps),
            np.uint64(len(rules.tep6)),
            address(self._first_words),
            address(flow.PORT_WEIGHTS),
            multiplier_1,
            multiplier_2,
            np.uint64(rules.flow_label is None),
            np.uint64(rules.hop_limit),
            np.uint64(rules.tunnel_mtu if rules.encapsulation_limit is None else 0),
            np.uint64(rules.overhead),
            np.uint64(rules.mss is not None),
            address(tables.path_mtus.head),
            address(tables.path_mtus.entries),
            np.uint64(rules.hairpin),
            address(tables.usage.switch),
            _from_row_to_record(tables, worker),
        )
        self.numbers = np.array(world, np.uint64)

    def describe_ports(self, ports: npt.NDArray[np.void]) -> None:
        """Take over what ports are like now; dtype PORT, shape (MAX_PORTS,)."""
        assert ports.dtype == PORT
        for link, port in zip(self._links, ports, strict=True):
            link["mac"] = int.from_bytes(bytes(port["mac"]), "little")
            link["vlan"], link["mtu"] = port["vlan"], port["mtu"]
            tag = ether.ETHERTYPE_VLAN << 16 | int(port["vlan"])
            link["tag"] = int.from_bytes(tag.to_bytes(4, "big"), "little")


class Columns:
    """Columns for bursts of up to `size` frames, used again for each."""

    def __init__(self, size: int) -> None:
        self.size = size
        self.verdict = np.empty(size, np.uint8)
        self.port = np.empty(size, np.uint8)
        self.new_at, self.new_length, self.rest = (np.empty(size, np.int64) for _ in range(3))
        self.refusals = np.zeros(1, REFUSALS)
        self._inner_at, self._row, self._turned = (np.empty(size, np.uint64) for _ in range(3))
        own = (self._inner_at, self._row, self.verdict, self.port)
        results = (self.new_at, self.new_length, self.rest, self._turned, self.refusals)
        self.numbers = np.array([address(column) for column in (*own, *results)])

    def refuse(self, standing: Standing | None) -> None:
        """Have packets to nobody end in the pass as far as they can; see `Forwarder.unbound`."""
        if standing is None or standing.exhausted:
            self.refusals["which"], self.refusals["unsent"] = ALL, standing is not None
            return
        empty = int(address(standing.empty))
        buckets = empty, standing.step, standing.key, standing.mix, standing.host_bits
        self.refusals[0] = (WITHOUT_TOKENS, 0, 1, standing.now, *buckets)


def _of_bindings(
    table: BindingTable,
) -> tuple[np.uint64, np.uint64, np.uint64, np.uint64, np.uint64, np.uint64]:
    """From `World.directory` to `World.shared`."""
    sets = np.uint64(table.first_set_slot * table.slots.itemsize)
    slots, rows, divided = (address(part) for part in (table.slots, table.rows, table.divided))
    return address(table.directory), slots, rows, divided, slots + sets, address(table.shared)


def _from_row_to_record(tables: Tables, worker: int) -> np.uint64:
    """`World.usage`: the same for all rows, and less than 0 if it is larger than 2^63."""
    distance = int(address(tables.usage.values[worker])) - int(address(tables.bindings.rows))
    return np.uint64(distance % (1 << 64))
