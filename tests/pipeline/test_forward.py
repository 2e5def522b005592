from __future__ import annotations

import dataclasses
import random
from collections import Counter
from functools import cache
from typing import TYPE_CHECKING, Final

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dstmrouter.pipeline import fragment4
from tests import oracle, oracle_icmp, oracle_ports
from tests.oracle_fragments import masked
from tests.pipeline import packets, traffic, worlds
from tests.pipeline.machine import FRAMES, Machine

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.pipeline.worlds import World

pytestmark = pytest.mark.usefixtures("untraced")

WORLDS: Final[dict[str, World]] = {
    "usual": worlds.world(),
    "one tep6, pipe, fixed label": worlds.world(
        tep6=(worlds.TEP6,), dscp_uniform=False, flow_label=0xABCDE
    ),
    "tagged, no hairpin": worlds.world(access_vlan=77, hairpin=False, hop_limit=255),
    "small tunnel, no tep4": worlds.world(tep4=None, path_mtu=1280),
    "few errors": worlds.world(
        hairpin=False,
        path_mtu=1280,
        icmp=dataclasses.replace(
            worlds.ICMP, host_unreachable=False, prohibited=False, relay=False, ttl=255
        ),
    ),
    "all options of the tunnel": worlds.world(
        path_mtu=1300, encapsulation_limit=3, ecn_copied=False, df_strict=False
    ),
    "pieces inside": worlds.world(path_mtu=1281, fragment_inner=True),
}


@pytest.fixture(scope="module", autouse=True)
def _no_budget() -> Iterator[None]:
    """What one burst may cost is not what is compared here."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fragment4, "OPTIONS_BUDGET", FRAMES)
        yield


SIZES: Final = (0, 1, 7, 8, 63, 64, 1023, 1024)
# What differs by world does not depend on the size of a burst, so one of them has all sizes.
SIZED: Final = [("usual", size) for size in SIZES] + [
    (name, size) for name in WORLDS if name != "usual" for size in (8, 1024)
]
assert max(SIZES) <= FRAMES


@cache
def machine(name: str) -> Machine:
    return Machine(WORLDS[name])


def compare(name: str, burst: list[bytes], port: int) -> None:
    """Every packet of a burst must have the fate that the oracle gives it alone."""
    world, router = WORLDS[name], machine(name)
    # Of fragments, what came before says what becomes of them: tests/pipeline/test_reassembly.py.
    fates = {frame: oracle.fate(world, frame, port, worlds.NOW_S) for frame in burst}
    burst = [frame for frame in burst if fates[frame].verdict != "DROP_OUTER_FRAGMENT"]
    expected = {frame: oracle_icmp.fate(world, frame, port, worlds.NOW_S) for frame in burst}
    found = router.run(burst, port, worlds.NOW_S, traffic.MAX_SHIFT)
    for frame, fate in zip(burst, found, strict=True):
        seen = None if fate.frame is None else masked(fate.frame)
        alone = dataclasses.replace(expected[frame][0], more=())
        assert dataclasses.replace(fate, frame=seen) == alone, frame.hex()
    made = Counter(masked(fate.frame or b"") for fate in router.made)
    told = Counter(masked(sent.frame or b"") for frame in burst for sent in expected[frame][1])
    cut = Counter(piece for frame in burst for piece in expected[frame][0].more)
    assert made == told + cut


def depends_on_others(world: World, frame: bytes) -> bool:
    """Whether it may hold a fragment of a shared address: `test_shared_pieces` has those."""
    shared = {address.packed for address in world.shared}
    headers = (frame[at:] for at in range(14, len(frame) - 20))
    return any(
        (header[12:16] in shared or header[16:20] in shared) and oracle_ports.is_piece(header)
        for header in headers
    )


@pytest.mark.parametrize("name", WORLDS)
@settings(max_examples=120)
@given(frame=traffic.frames(), port=st.sampled_from([worlds.ACCESS, worlds.TAGGED]))
def test_a_frame_alone(name: str, frame: bytes, port: int) -> None:
    compare(name, [frame], port)


@pytest.mark.parametrize(("name", "size"), SIZED)
@settings(max_examples=8)
@given(kinds=st.lists(traffic.frames(), min_size=8, max_size=24), seed=st.integers(0, 1 << 30))
def test_a_mixed_burst_is_so_many_packets_alone(
    name: str, size: int, kinds: list[bytes], seed: int
) -> None:
    kinds = [kind for kind in kinds if not depends_on_others(WORLDS[name], kind)]
    burst = random.Random(seed).choices(kinds or [packets.tunnelled()], k=size)
    compare(name, burst, worlds.ACCESS)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("packet", [packets.ether(packets.ipv4()), packets.tunnelled()])
def test_a_burst_of_one_kind(size: int, packet: bytes) -> None:
    """Nothing to sort out: the ways that skip the sorting are taken."""
    compare("usual", [packet] * size, worlds.ACCESS)


@pytest.mark.parametrize("size", [7, 64])
@settings(max_examples=60)
@given(packet=st.one_of(traffic.ipv4_packets(), traffic.tunnel_packets()), seed=st.integers(0, 99))
def test_one_odd_packet_among_usual_ones(size: int, packet: bytes, seed: int) -> None:
    usual = packets.ether(packets.ipv4()) if packet[0] >> 4 == 4 else packets.tunnelled()
    burst = [usual] * size
    burst[seed % size] = packets.ether(packet)[: traffic.MAX_FRAME]
    compare("usual", burst, worlds.ACCESS)


def test_frames_shorter_than_their_ethernet_header_are_not_ip_whatever_lay_there_before() -> None:
    whole = packets.ether(packets.ipv4(dst=worlds.leased(200)))  # dropped as it is
    router = machine("usual")
    for length in range(14):
        router.run([whole] * FRAMES, worlds.ACCESS, worlds.NOW_S)
        burst = [whole] * 5 + [whole[:length]]
        assert router.run(burst, worlds.ACCESS, worlds.NOW_S)[-1].verdict == "DROP_NOT_IP"


def test_ports_that_change_are_followed() -> None:
    before, after = worlds.world(), worlds.world(access_vlan=9)
    router, frame = Machine(before), packets.ether(packets.ipv4())
    (old,) = router.run([frame], worlds.INTERNET, worlds.NOW_S)
    router.tables.ports.set(worlds.ACCESS, mac=b"\2\2\2\2\2\2", mtu=1500, vlan=9)
    (new,) = router.run([frame], worlds.INTERNET, worlds.NOW_S)
    assert old == oracle.fate(before, frame, worlds.INTERNET, worlds.NOW_S)
    wanted = oracle.fate(after, frame, worlds.INTERNET, worlds.NOW_S).frame
    assert wanted is not None
    assert new.frame == wanted[:6] + b"\2\2\2\2\2\2" + wanted[12:]
    assert new.frame is not None
    assert new.frame[12:16] == bytes.fromhex("81000009")


def test_what_a_lease_was_is_forgotten_when_its_time_is_over() -> None:
    router, frame = Machine(worlds.world()), packets.ether(packets.ipv4(dst=worlds.leased(2)))
    now = worlds.NOW_S
    fates = [router.run([frame], worlds.INTERNET, now + passed)[0] for passed in (0, 1)]
    assert [fate.verdict for fate in fates] == ["ENCAPSULATED", "DROP_NO_BINDING"]


def test_destinations_to_ask_the_kernel_for_are_reported() -> None:
    router = machine("usual")
    asked = [packets.tunnelled(dst=dst) for dst in ("10.3.0.9", "10.2.0.1", "10.3.0.8")]
    router.run(asked, worlds.ACCESS, worlds.NOW_S)
    gleaned = [int(address) for column in router.outcome.gleaned for address in column]
    assert gleaned == [0x0A030009, 0x0A030008]
