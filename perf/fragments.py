"""What packets in pieces cost one core, in memory: cut, put together, mixed, and a flood of junk.

    python -m perf fragments [--json] [--out FILE] [--runs N]

As `perf.pipeline`, but through the whole engine of a worker, over ports that neither receive nor
send: so frames of pieces are taken and given back, and datagrams that were put together are worked
on once more. Frames are laid out afresh before each run; only the turns are timed.
"""

from __future__ import annotations

import time
from ipaddress import IPv4Network
from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np
import numpy.typing as npt

from dstmrouter.counters import Counters
from dstmrouter.daemon.engine import Engine
from dstmrouter.io.memport import MemoryPort
from dstmrouter.io.umem import DESC, XDP_PACKET_HEADROOM, Umem
from dstmrouter.pipeline.compiled.forward import CompiledForwarder
from dstmrouter.pipeline.forward import Forwarder
from dstmrouter.pipeline.memory import FrameMemory
from dstmrouter.pipeline.verdict import Verdict
from dstmrouter.wire import ether, ipv6
from perf.figures import Figure, stay_on_one_cpu
from perf.holdings import Holdings
from perf.packets import Matrix, decap_frames, encap_frames
from perf.results import report, shared_options
from perf.rotation import POOL, RULES, TEP6, build

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dstmrouter.pipeline.outcome import Tables

BURST: Final = 1024
FRAMES: Final = 2 * BURST
SPARE: Final = 4096  # frames for pieces
LEASES: Final = 65_536
INTERNET, ACCESS = 0, 1  # ports
FIRST_LEN: Final = 1448  # octets of a first piece on a path of 1,500
IMIX: Final = ((64, 7), (570, 4), (1500, 1))  # octets of IPv4 packets, and their shares
JUNK: Final = 10  # fragments for each good packet


class Load(NamedTuple):
    """Frames of several lengths: the octets behind `lengths` are not theirs."""

    frames: Matrix
    lengths: npt.NDArray[np.int64]
    port: int
    counted: Verdict  # which packets a figure counts
    wanted: int  # so many of them come of one run


def _clients(holdings: Holdings, n: int, rng: np.random.Generator) -> npt.NDArray[np.uint32]:
    return rng.integers(0, holdings.count, n, dtype=np.uint32)


def _encap(holdings: Holdings, n: int, size: int, rng: np.random.Generator) -> Matrix:
    clients = _clients(holdings, n, rng)
    return encap_frames(holdings.ipv4(clients), holdings.ports(clients, rng), size, rng)


def _decap(holdings: Holdings, n: int, size: int, rng: np.random.Generator) -> Matrix:
    clients = _clients(holdings, n, rng)
    ports, client6 = holdings.ports(clients, rng), holdings.client6(clients)
    return decap_frames(holdings.ipv4(clients), ports, client6, TEP6, size, rng)


def _piece(whole: Matrix, start: int, end: int, ids: npt.NDArray[np.uint32]) -> Matrix:
    """The octets from `start` to `end` behind the IPv6 header, as fragments."""
    payload_at = ether.HEADER_LEN + ipv6.HEADER_LEN
    last = whole.shape[1] - payload_at
    frames = np.zeros((len(whole), payload_at + ipv6.FRAGMENT_LEN + end - start), np.uint8)
    frames[:, :payload_at] = whole[:, :payload_at]
    frames[:, payload_at + ipv6.FRAGMENT_LEN :] = whole[:, payload_at + start : payload_at + end]
    outer = np.ndarray(len(frames), ipv6.HEADER, frames, ether.HEADER_LEN, (frames.shape[1],))
    outer["payload_len"] = frames.shape[1] - payload_at
    outer["next_header"] = ipv6.NEXT_FRAGMENT
    header = np.ndarray(len(frames), ipv6.FRAGMENT, frames, payload_at, (frames.shape[1],))
    header["next_header"], header["id"] = ipv6.NEXT_IPV4, ids
    header["offset"] = start | (end < last) * ipv6.FLAG_MORE
    return frames


def _together(
    parts: list[Matrix], order: npt.NDArray[np.intp]
) -> tuple[Matrix, npt.NDArray[np.int64]]:
    """All frames of matrices of different widths, in this order; and their lengths."""
    width = max(part.shape[1] for part in parts)
    frames = np.concatenate([np.pad(part, ((0, 0), (0, width - part.shape[1]))) for part in parts])
    lengths = np.repeat([part.shape[1] for part in parts], [len(part) for part in parts])
    return frames[order], lengths[order]


def cut(holdings: Holdings, rng: np.random.Generator) -> Load:
    """Internet packets of 1,500 octets into an access network of 1,500."""
    frames = _encap(holdings, FRAMES, 1500, rng)
    lengths = np.full(FRAMES, frames.shape[1])
    return Load(frames, lengths, INTERNET, Verdict.FRAGMENTED, FRAMES)


def joined(holdings: Holdings, rng: np.random.Generator) -> Load:
    """Datagrams of clients in two pieces, one behind the other."""
    n = FRAMES // 2
    whole, ids = _decap(holdings, n, 1500, rng), np.arange(n, dtype=np.uint32)
    parts = [_piece(whole, 0, FIRST_LEN, ids), _piece(whole, FIRST_LEN, 1500, ids)]
    order = np.arange(FRAMES).reshape(2, n).T.reshape(-1)
    return Load(*_together(parts, order), ACCESS, Verdict.DECAPSULATED, n)


def mixed(holdings: Holdings, rng: np.random.Generator) -> Load:
    """IMIX from the Internet; the largest packets are cut."""
    total = sum(share for _, share in IMIX)
    counts = [FRAMES * share // total for _, share in IMIX]
    counts[0] += FRAMES - sum(counts)
    parts = [
        _encap(holdings, count, size, rng) for (size, _), count in zip(IMIX, counts, strict=True)
    ]
    load = _together(parts, rng.permutation(FRAMES))
    return Load(*load, INTERNET, Verdict.ENCAPSULATED, sum(counts[:2]))


def flood(holdings: Holdings, rng: np.random.Generator, *, strangers: bool) -> Load:
    """Packets of clients, and ten times as many fragments that belong to nothing."""
    good = FRAMES // (JUNK + 1)
    fine = _decap(holdings, good, 64, rng)
    junk = _piece(_decap(holdings, FRAMES - good, 128, rng), 8, 72, _ids(FRAMES - good, rng))
    if strangers:
        outer = np.ndarray(len(junk), ipv6.HEADER, junk, ether.HEADER_LEN, (junk.shape[1],))
        outer["src"] = rng.integers(1, 1 << 63, (len(junk), 2), dtype=np.uint64)
    load = _together([fine, junk], rng.permutation(FRAMES))
    return Load(*load, ACCESS, Verdict.DECAPSULATED, good)


def _ids(n: int, rng: np.random.Generator) -> npt.NDArray[np.uint32]:
    return rng.integers(0, 1 << 32, n, dtype=np.uint32)


def loads(holdings: Holdings) -> dict[str, Load]:
    """Everything that is measured, by its name."""
    rng = np.random.default_rng(7)
    good = _decap(holdings, FRAMES, 64, rng)
    alone = Load(good, np.full(FRAMES, good.shape[1]), ACCESS, Verdict.DECAPSULATED, FRAMES)
    return {
        "cut at 1,500 (packets in)": cut(holdings, rng),
        "joined, two pieces (datagrams)": joined(holdings, rng),
        "IMIX into tunnels (packets in)": mixed(holdings, rng),
        "good packets alone": alone,
        "good, ten times junk of strangers": flood(holdings, rng, strangers=True),
        "good, ten times junk of clients": flood(holdings, rng, strangers=False),
    }


class Bench:
    """One load through the engine of a worker."""

    def __init__(self, tables: Tables, load: Load, *, compiled: bool) -> None:
        self._load = load
        self._umem = umem = Umem(FRAMES + SPARE)
        steps = Forwarder(FrameMemory(umem.memory), tables, RULES, umem.pool)
        forwarder = CompiledForwarder(umem.memory, tables, RULES, steps) if compiled else steps
        self._counters = Counters(bytearray(Counters.size(1, len(Verdict))), 1, len(Verdict))
        slots = FRAMES + SPARE
        self._ports = [MemoryPort(umem, f"p{n}", record=False, slots=slots) for n in range(2)]
        for port in self._ports:
            port.refill_room = lambda: 0  # type: ignore[method-assign]  # they only get what we load
        self._engine = Engine(umem, self._ports, forwarder, self._counters)
        self._now_s = 1

    def run(self) -> float:
        """Nanoseconds for each packet that the load counts."""
        load, umem = self._load, self._umem
        self._now_s += 100  # what was kept is given up
        self._engine.turn(self._now_s)
        self._engine.turn(self._now_s)
        chunks = umem.pool.take(FRAMES)
        rows = umem.octets.reshape(FRAMES + SPARE, -1)
        numbers = (chunks // np.uint64(umem.chunk_size)).astype(np.intp)
        rows[numbers, XDP_PACKET_HEADROOM : XDP_PACKET_HEADROOM + load.frames.shape[1]] = (
            load.frames
        )
        descs = np.zeros(FRAMES, DESC)
        descs["addr"], descs["len"] = chunks + np.uint64(XDP_PACKET_HEADROOM), load.lengths
        for first in range(0, FRAMES, BURST):
            self._ports[load.port].load(descs[first : first + BURST])
        before = int(self._counters.totals()[0, load.counted])
        start = time.process_time_ns()
        while self._engine.turn(self._now_s):
            pass
        elapsed = time.process_time_ns() - start
        done = int(self._counters.totals()[0, load.counted]) - before
        assert done == load.wanted, f"{done} packets, not {load.wanted}"
        assert self._engine.missing() == 0, "a frame got lost"
        return elapsed / load.wanted


def measure(runs: int) -> list[Figure]:
    """All figures; the loads take turns, so that a slow moment of the machine hits all."""
    holdings = Holdings(IPv4Network(POOL), LEASES, sets=False)
    tables = build(holdings)
    benches = {
        f"{name}{suffix}": Bench(tables, load, compiled=compiled)
        for name, load in loads(holdings).items()
        for suffix, compiled in (("", True), (", numpy alone", False))
    }
    times: dict[str, list[float]] = {name: [] for name in benches}
    for bench in benches.values():
        bench.run()
    for _ in range(runs):
        for name, bench in benches.items():
            times[name].append(bench.run())
    return [
        Figure(
            bench="fragments",
            work=name,
            unit="M/s",
            runs=[1000 / ns for ns in found],
            burst=BURST,
            bindings=LEASES,
        )
        for name, found in times.items()
    ]


def main(argv: Sequence[str] | None = None) -> None:
    """Parse options, measure, print."""
    parser = shared_options("fragments", __doc__, 15)
    args = parser.parse_args(argv)
    stay_on_one_cpu()
    report("packets in pieces, one core, in memory", measure(args.runs), args)


if __name__ == "__main__":
    main()
