"""Every case through a real router on AF_XDP and on packet_mmap rings.

One router serves all cases of a configuration. What its counters say tells when it is done with
what arrived; frames sent last show that nothing else has left.
"""

from __future__ import annotations

import contextlib
from ipaddress import IPv4Address, IPv6Address
from typing import TYPE_CHECKING, Final

import pytest

from lab.netns import wait_until
from tests.vectors import octets, setting
from tests.vectors.bench import MARK, Bench
from tests.vectors.expectation import cases, check_counters, check_frames

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.vectors.case import Case

pytestmark = [pytest.mark.netns, pytest.mark.usefixtures("untraced")]
TUNNELLED: Final = {0, 4, 44, 60}  # next headers that are the router's
ICMPV6_ERRORS: Final = range(1, 5)


class Benches:
    """The router of the last configuration: the next case may have the same."""

    def __init__(self) -> None:
        self._key = ""
        self._undo = contextlib.ExitStack()
        self._bench: Bench | None = None

    def of(self, case: Case, mode: str) -> Bench:
        key = mode + setting.key(case)
        if self._bench is None or key != self._key:
            self.close()
            self._bench = self._undo.enter_context(Bench(case, mode))
            self._key = key
        return self._bench

    def close(self) -> None:
        self._undo.close()


@pytest.fixture(scope="module")
def benches() -> Iterator[Benches]:
    made = Benches()
    yield made
    made.close()


def steered(case: Case) -> int:
    """How many of the frames are the router's, and not its kernel's."""
    pools, teps = setting.pools(case), setting.tep6(case)
    count = 0
    for frame in (*case.in4, *case.in6):
        packet = frame[octets.ip_at(frame) :]
        if packet[0] >> 4 == 4:
            count += any(IPv4Address(packet[16:20]) in pool for pool in pools)
        elif IPv6Address(packet[24:40]) in teps:
            error = packet[6] == octets.ICMPV6 and packet[40] in ICMPV6_ERRORS
            count += packet[6] in TUNNELLED or error
    return count


def run(case: Case, bench: Bench) -> tuple[dict[str, int], tuple[bytes, ...], tuple[bytes, ...]]:
    """Counters that grew, and what came out on both sides."""
    wires = bench.wire4, bench.wire6
    before = bench.counters()

    def grown() -> dict[str, int]:
        now = bench.counters()
        return {name: now[name] - before[name] for name in now if now[name] != before[name]}

    for wire in wires:
        wire.forget()
    for wire, frames in zip(wires, (case.in4, case.in6), strict=True):
        for frame in frames:
            wire.send(frame)
    wait_until(lambda: sum(grown().values()) >= steered(case), "counters")
    for wire, expected in zip(wires, (case.expect4, case.expect6), strict=True):
        with contextlib.suppress(Exception):  # what is missing is told in the end
            wait_until(lambda w=wire, e=expected: len(w.got()) >= len(e), "frames", 1)  # type: ignore[misc]
    counted = grown()
    markers = bench.markers(case)
    if markers is not None:
        for marker in markers:
            bench.wire6.send(marker)
        wait_until(lambda: all(any(MARK in f for f in w.got()) for w in wires), "the last frames")
    out4, out6 = (tuple(f for f in wire.got() if MARK not in f) for wire in wires)
    return counted, out4, out6


@pytest.mark.parametrize("case", cases())
@pytest.mark.parametrize("mode", ["auto", "packet_mmap"])
def test_rings(case: Case, mode: str, benches: Benches) -> None:
    bench = benches.of(case, mode)
    counted, out4, out6 = run(case, bench)
    try:
        check_frames(case, out4, out6)
    except AssertionError as error:
        error.add_note(f"counted: {counted}")
        raise
    if steered(case):  # what is the kernel's is not counted
        check_counters(case, counted)
    assert bench.workers() == [0]
