"""Sizes, rates and templates of frames, read by scapy."""

from __future__ import annotations

import re

import pytest
from scapy.layers.inet import IP, UDP
from scapy.layers.inet6 import IPv6
from scapy.layers.l2 import Ether

from perf.rfc8219.frames import IMIX, SIZE_MIN, SIZES, Direction, parse, template

MACS = {
    "6": ("02:00:00:00:00:06", "02:00:00:00:01:06"),
    "4": ("02:00:00:00:00:04", "02:00:00:00:01:04"),
}
FCS = 4


def test_sizes_are_read() -> None:
    assert [frames.size for frames in parse("64, 1518,imix")] == [64, 1518, None]
    assert [frames.name for frames in parse("rfc")] == [*map(str, SIZES), "imix"]


@pytest.mark.parametrize("text", ["", "63", "1519", "64;128", "large", "-64"])
def test_other_words_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match=f"frame size {re.escape(repr(text))}: expected 64 to"):
        parse(text)


def test_the_smallest_frame_of_ethernet_has_room_for_a_stamp() -> None:
    assert SIZE_MIN == 64


def test_rates_of_a_link_account_for_the_tunnel() -> None:
    (small,) = parse("64")
    (mixed,) = parse("imix")
    assert round(small.rate_max(1e9)) == 1_008_065  # 64 + 20 + 40 octets
    assert IMIX.count(64) == 7
    assert mixed.rate_max(1e9) == pytest.approx(1e9 / 8 / (4246 / 12 + 60))


@pytest.mark.parametrize("size", [64, 570, 1518])
def test_frames_into_tunnels(size: int) -> None:
    made = template(Direction.ENCAP, size, MACS)
    frame = Ether(made.octets)
    assert len(made.octets) == size - FCS
    assert (frame.dst, frame.src) == MACS["4"]
    assert (frame[IP].len, frame[UDP].len) == (size - 18, size - 38)
    assert made.octets[made.checksum :][:2] == frame[IP].chksum.to_bytes(2, "big")
    (dst,) = made.addresses
    assert made.octets[dst:][:4] == bytes([10, 0, 0, 0])
    assert made.header_len == 14 + 20 + 8


@pytest.mark.parametrize("size", [64, 1518])
def test_frames_of_clients_are_longer_by_the_tunnel(size: int) -> None:
    made = template(Direction.DECAP, size, MACS)
    frame = Ether(made.octets)
    assert len(made.octets) == size - FCS + 40
    assert (frame.dst, frame.src) == MACS["6"]
    assert frame[IPv6].plen == size - 18
    assert frame[UDP].len == size - 38
    assert all(made.octets[at:][:4] == bytes([10, 0, 0, 0]) for at in made.addresses)
    assert frame[UDP].sport == 4711


@pytest.mark.parametrize("size", [64, 1518])
def test_between_two_devices_clients_speak_plain_ipv4(size: int) -> None:
    made = template(Direction.DECAP, size, MACS, dual=True)
    frame = Ether(made.octets)
    assert (len(made.octets), frame.dst) == (size - FCS, MACS["6"][0])
    assert (frame[IP].src, frame[IP].dst) == ("10.0.0.0", "198.51.100.1")
    assert frame[UDP].sport == 4711
    header = frame[IP].copy()
    del header.chksum
    assert IP(bytes(header)).chksum == frame[IP].chksum
    (src,) = made.addresses
    assert made.octets[src:][:4] == bytes([10, 0, 0, 0])


def test_a_bad_mac_address_is_refused() -> None:
    with pytest.raises(ValueError, match="expected six octets"):
        template(Direction.ENCAP, 64, {"4": ("02:00", "02:00:00:00:01:04")})
