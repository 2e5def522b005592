"""Filters over bursts: as tcpdump judges, as a machine for one packet does."""

from __future__ import annotations

import shutil
import struct
import subprocess
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dstmrouter.errors import DstmError
from dstmrouter.io.capturefile import CaptureWriter, read_packets
from dstmrouter.io.pcapfilter import compile_filter
from dstmrouter.pipeline.cbpf import Filter
from dstmrouter.pipeline.memory import FrameMemory
from tests.pipeline import cbpf_machine, packets, worlds

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

Program = list[tuple[int, int, int, int]]
RETURN_A = (0x16, 0, 0, 0)

UDP = packets.ipv4()
FRAMES = [
    packets.ether(UDP),
    packets.ether(UDP, tci=100),
    packets.ether(UDP, tci=200),
    packets.ether(packets.ipv4(protocol=6, payload=bytes.fromhex("1f900050") + bytes(30))),
    packets.ether(packets.ipv4(protocol=6, fragment=7)),
    packets.ether(packets.ipv4(protocol=1, payload=packets.echo())),
    packets.ether(packets.ipv4(options=bytes(8))),
    packets.ether(packets.ipv4("10.1.2.3", "10.2.3.4", tos=0xB8)),
    packets.tunnelled(1),
    packets.tunnelled(2, tos=3),
    packets.ether(packets.ipv6(packets.OPTIONS + UDP, next_header=60)),
    packets.ether(packets.ipv6(bytes(8), next_header=58)),
    packets.ether(packets.ipv6(b"\x04\0\0\1\0\0\0\1" + UDP, next_header=44)),
    packets.ether(b"", ethertype=0x0806),
    packets.ether(bytes(46)),
    packets.ether(UDP)[:30],
    packets.ether(UDP)[:14],
]
EXPRESSIONS = [
    "ip",
    "ip6",
    "arp",
    "udp",
    "udp port 53",
    "tcp dst port 80",
    "tcp[0] = 0x1f",
    "icmp[icmptype] = icmp-echo",
    f"host {packets.FAR}",
    f"dst net {worlds.POOLS[0]}",
    "net 10.0.0.0/8 and ip[1] & 0xfc = 0xb8",
    "not ip",
    "vlan",
    "vlan 100",
    "vlan 100 and udp",
    "ip6 proto 4",
    f"ip6 src {worlds.CLIENTS6[1]}",
    "ip6[40] & 0xf0 = 0x40 and ip6[41] & 3 = 3",
    "less 60",
    "greater 80 and not vlan",
    "ip[6:2] & 0x3fff != 0",
    "ip[2:2] * 2 > 70 and ip[2:2] / 3 < 30",
    "ether src 02:00:00:00:00:ff",
    "ether broadcast or ether multicast",
    f"(udp or tcp) and src {packets.FAR} and not dst port 53",
]


def matching(code: bytes, frames: Sequence[bytes]) -> list[bool]:
    """What the filter says to the frames, each at an odd place of memory full of ones."""
    chunk = 2048
    memory = bytearray(b"\xff" * chunk * (len(frames) + 1))
    at = [chunk * number + 255 for number in range(len(frames))]
    for start, frame in zip(at, frames, strict=True):
        memory[start : start + len(frame)] = frame
    lengths = np.array([len(frame) for frame in frames], np.int64)
    found = Filter(code).matches(FrameMemory(memory), np.array(at, np.intp), lengths)
    verdicts: list[bool] = found.tolist()
    return verdicts


def packed(program: Program) -> bytes:
    return b"".join(struct.pack("<HBBI", *instruction) for instruction in program)


@pytest.mark.skipif(shutil.which("tcpdump") is None, reason="tcpdump is not installed")
@pytest.mark.parametrize("expression", EXPRESSIONS)
def test_judges_as_tcpdump(tmp_path: Path, expression: str) -> None:
    writer = CaptureWriter(tmp_path / "all.pcap")
    for frame in FRAMES:
        writer.write(frame)
    writer.close()
    files = ["-r", str(tmp_path / "all.pcap"), "-w", str(tmp_path / "some.pcap")]
    subprocess.run(["tcpdump", *files, expression], check=True, capture_output=True)
    wanted = list(read_packets(tmp_path / "some.pcap"))
    found = matching(compile_filter(expression), FRAMES)
    assert [frame for frame, match in zip(FRAMES, found, strict=True) if match] == wanted
    assert [matching(compile_filter(expression), [frame])[0] for frame in FRAMES] == found


WORDS = st.one_of(st.integers(0, 70), st.integers(0, 0xFFFFFFFF))
SCRATCH = st.integers(0, 15)
ZERO = st.just(0)
LOADS = st.tuples(
    st.sampled_from([0x00, 0x20, 0x28, 0x30, 0x80, 0x01, 0x81, 0xB1]), ZERO, ZERO, WORDS
)
INDIRECT = st.tuples(st.sampled_from([0x40, 0x48, 0x50]), ZERO, ZERO, WORDS)
MEMORY = st.tuples(st.sampled_from([0x60, 0x61, 0x02, 0x03]), ZERO, ZERO, SCRATCH)
ARITHMETIC = st.tuples(
    st.sampled_from([4 | n << 4 | m for n in range(11) for m in (0, 8)]), ZERO, ZERO, WORDS
)
MOVES = st.tuples(st.sampled_from([0x07, 0x87]), ZERO, ZERO, ZERO)
STEPS = st.integers(0, 3)
BRANCHES = st.tuples(
    st.sampled_from([5 | n << 4 | m for n in (1, 2, 3, 4) for m in (0, 8)]), STEPS, STEPS, WORDS
)
ALWAYS = st.tuples(st.just(0x05), ZERO, ZERO, STEPS)
RETURNS = st.sampled_from([RETURN_A, (0x06, 0, 0, 0), (0x06, 0, 0, 1)])
BODIES = st.lists(
    st.one_of(LOADS, INDIRECT, MEMORY, ARITHMETIC, MOVES, BRANCHES, ALWAYS, RETURNS), max_size=12
)


@given(BODIES, st.lists(st.binary(max_size=80), min_size=1, max_size=8))
def test_any_program_does_what_it_does_to_one_packet(body: Program, frames: list[bytes]) -> None:
    program = [*body, *[RETURN_A] * 4]  # wherever a jump leads
    wanted = [cbpf_machine.accepts(program, frame) for frame in frames]
    assert matching(packed(program), frames) == wanted


def test_no_frames() -> None:
    assert matching(compile_filter("ip"), []) == []


@pytest.mark.parametrize(
    ("program", "problem"),
    [
        ([], "filter of 0 octets"),
        ([(0x00, 0, 0, 1)], "instruction 0 is not"),  # runs out of the program
        ([(0x05, 0, 0, 1), RETURN_A], "instruction 0 is not"),
        ([(0x15, 0, 1, 1), RETURN_A], "instruction 0 is not"),
        ([(0x02, 0, 0, 16), RETURN_A], "instruction 0 is not"),
        ([(0x60, 0, 0, 16), RETURN_A], "instruction 0 is not"),
        ([(0xB4, 0, 0, 1), RETURN_A], "instruction 0 is not"),
        ([(0x18, 0, 0, 1), RETURN_A], "instruction 0 is not"),
        ([(0xF5, 0, 0, 1), RETURN_A], "instruction 0 is not"),
        ([RETURN_A] * 4097, "at most 4096"),
    ],
)
def test_what_is_no_program_is_refused(program: Program, problem: str) -> None:
    with pytest.raises(DstmError, match=problem):
        Filter(packed(program))


def test_loops_are_refused() -> None:
    with pytest.raises(DstmError, match="loops of protochain"):
        Filter(compile_filter("ip6 protochain 4"))


def test_half_an_instruction_is_refused() -> None:
    with pytest.raises(DstmError, match="filter of 7 octets"):
        Filter(bytes(7))
