from __future__ import annotations

from ipaddress import IPv4Network, IPv6Address, IPv6Network, ip_network

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from dstmrouter.binding import words6
from dstmrouter.pipeline.prefixes import (
    NO_VALUE,
    Span,
    intervals4,
    intervals6,
    lookup4,
    lookup6,
    with_addresses,
)

Network = IPv4Network | IPv6Network


def spans(networks: list[Network]) -> list[Span]:
    return [
        Span(int(n.network_address), int(n.broadcast_address), number)
        for number, n in enumerate(networks, start=1)
    ]


def longest_match(networks: list[Network], address: int) -> int:
    """The definition, one prefix after the other."""
    best, value = -1, NO_VALUE
    for number, network in enumerate(networks, start=1):
        inside = int(network.network_address) <= address <= int(network.broadcast_address)
        if inside and network.prefixlen > best:
            best, value = network.prefixlen, number
    return value


@st.composite
def networks(draw: st.DrawFn, bits: int) -> list[Network]:
    """Prefixes of every length, many of them nested, equal at one end, or adjacent."""
    address = st.integers(0, (1 << bits) - 1) | st.sampled_from([0, (1 << bits) - 1])
    bases = draw(st.lists(address, min_size=1, max_size=3))
    found: set[Network] = set()
    for _ in range(draw(st.integers(0, 20))):
        length = draw(st.integers(0, bits))
        step = draw(st.integers(-2, 2)) << (bits - length)
        first = (draw(st.sampled_from(bases)) + step) % (1 << bits)
        if bits == 32:
            found.add(IPv4Network((first, length), strict=False))
        else:
            found.add(IPv6Network((first, length), strict=False))
    return list(found)


def around(found: list[Network], bits: int) -> list[int]:
    """Addresses at and next to every edge."""
    edges = {0, (1 << bits) - 1}
    for network in found:
        for edge in (int(network.network_address), int(network.broadcast_address)):
            edges |= {edge - 1, edge, edge + 1}
    return sorted(e for e in edges if 0 <= e < 1 << bits)


@given(networks(32))
def test_ipv4_intervals_equal_longest_prefix_match(found: list[Network]) -> None:
    asked = around(found, 32)
    values = lookup4(intervals4(spans(found)), np.array(asked, np.uint32))
    assert values.tolist() == [longest_match(found, a) for a in asked]


@given(networks(128))
def test_ipv6_intervals_equal_longest_prefix_match(found: list[Network]) -> None:
    asked = around(found, 128)
    words = words6([IPv6Address(a) for a in asked])
    values = lookup6(intervals6(spans(found)), words)
    assert values.tolist() == [longest_match(found, a) for a in asked]


@given(networks(32))
def test_starts_ascend_from_zero(found: list[Network]) -> None:
    starts = intervals4(spans(found)).starts.tolist()
    assert starts[0] == 0
    assert starts == sorted(set(starts))


@given(networks(32), st.sets(st.integers(0, 0xFFFFFFFF) | st.sampled_from([0, 0xFFFFFFFF])))
def test_added_addresses_are_prefixes_of_32_bits(found: list[Network], extra: set[int]) -> None:
    found = [n for n in found if n.prefixlen < 32]
    hosts = sorted(extra)
    table = with_addresses(
        intervals4(spans(found)),
        np.array(hosts, np.uint32),
        np.arange(len(found) + 1, len(found) + 1 + len(hosts), dtype=np.uint32),
    )
    everything = [*found, *(IPv4Network((h, 32)) for h in hosts)]
    asked = around(everything, 32)
    values = lookup4(table, np.array(asked, np.uint32))
    assert values.tolist() == [longest_match(everything, a) for a in asked]


def test_no_prefix_gives_no_value() -> None:
    assert lookup4(intervals4([]), np.array([0, 5], np.uint32)).tolist() == [NO_VALUE, NO_VALUE]
    assert lookup6(intervals6([]), words6([IPv6Address("::")])).tolist() == [NO_VALUE]


def test_ipv6_rows_need_not_be_contiguous() -> None:
    table = intervals6(spans([ip_network("2001:db8::/32"), ip_network("2001:db8:1::/48")]))
    words = words6([IPv6Address(a) for a in ("2001:db8::1", "::1", "2001:db8:1::1", "::2")])
    assert lookup6(table, words[::2]).tolist() == [1, 2]


def test_no_words_give_no_values() -> None:
    assert lookup6(intervals6([]), np.empty((0, 2), np.uint64)).tolist() == []
