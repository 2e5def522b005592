"""`dstm-router replay` as a program: captures in, captures out, compared octet by octet."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from scapy.layers.inet import ICMP, IP, UDP
from scapy.layers.inet6 import IPv6
from scapy.layers.l2 import Dot1Q, Ether
from scapy.packet import Raw
from scapy.utils import RawPcapReader, RawPcapWriter

from dstmrouter.cli.replay import MAC4, MAC6, NEXT4, NEXT6
from dstmrouter.cli.router import main
from tests.cli.inside import inside

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Iterable
    from pathlib import Path

TEP6, TEP4, HOST4 = "2001:db8:f::1", "192.0.2.1", "198.51.100.2"
CLIENT6, CLIENT4 = "2001:db8:1::11", "203.0.113.1"
OTHER6, OTHER4 = "2001:db8:2::22", "203.0.113.2"
LABEL = 0x12345
CSV = f"ipv4,client6,tep6\n{CLIENT4},{CLIENT6},\n{OTHER4}, {OTHER6} ,{TEP6}\n"


def replay(directory: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    places = [f"--{name}={directory / name}" for name in ("out4", "out6", "bindings")]
    ends = ["--tep6", TEP6, "--tep4", TEP4, "--pool", "203.0.113.0/24"]
    return inside(main, "replay", *places, *ends, *arguments)


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    (tmp_path / "bindings").write_text(CSV)
    return tmp_path


def inner(src: str, dst: str, ttl: int = 64, tos: int = 0) -> Any:
    return IP(src=src, dst=dst, ttl=ttl, tos=tos, id=7) / UDP(sport=5, dport=6) / Raw(b"x" * 30)


def from_internet(packet: Any) -> bytes:
    return bytes(Ether(src=NEXT4, dst=MAC4) / packet)


def to_internet(packet: Any) -> bytes:
    return bytes(Ether(src=MAC4, dst=NEXT4) / packet)


def from_client(client6: str, packet: Any) -> bytes:
    return bytes(Ether(src=NEXT6, dst=MAC6) / IPv6(src=client6, dst=TEP6, hlim=60, nh=4) / packet)


def to_client(client6: str, packet: Any, tos: int = 0) -> bytes:
    outer = IPv6(src=TEP6, dst=client6, hlim=64, nh=4, fl=LABEL, tc=tos)
    return bytes(Ether(src=MAC6, dst=NEXT6) / outer / packet)


def frames(path: Path) -> list[bytes]:
    with RawPcapReader(str(path)) as reader:
        return [frame for frame, _ in reader]


def capture(path: Path, captured: Iterable[bytes]) -> None:
    """Write a capture file."""
    with RawPcapWriter(str(path), linktype=1) as writer:
        writer.write(iter(captured))


IN4 = (
    from_internet(inner(HOST4, CLIENT4, tos=0x2E << 2)),
    from_internet(inner(HOST4, "203.0.113.77")),  # nobody's
    from_internet(inner(HOST4, OTHER4, ttl=2)),
    from_internet(inner(HOST4, CLIENT4, ttl=1)),
)
PING = IP(src=CLIENT4, dst=TEP4, id=7) / ICMP(id=3, seq=1) / Raw(b"ping")
IN6 = (
    from_client(CLIENT6, inner(CLIENT4, HOST4)),
    from_client(OTHER6, inner(CLIENT4, HOST4)),  # not the client's address
    from_client(CLIENT6, inner(CLIENT4, OTHER4)),
    from_client(CLIENT6, PING),
)
COUNTED = {
    "ENCAPSULATED": 2,
    "DECAPSULATED": 1,
    "HAIRPINNED": 1,
    "ECHO_ANSWERED": 1,
    "DROP_NO_BINDING": 1,
    "DROP_TTL": 1,
    "DROP_SPOOF_CLIENT": 1,
    "SENT_TTL": 1,
    "SENT_HOST_UNREACHABLE": 1,
}

ERRORS = {(3, 1), (11, 0)}


def test_captures_come_out_as_they_would_leave(directory: Path) -> None:
    for name, captured in (("in4", IN4), ("in6", IN6)):
        capture(directory / name, captured)
    arguments = [f"--in4={directory / 'in4'}", f"--in6={directory / 'in6'}"]
    done = replay(directory, *arguments, f"--flow-label={LABEL}", "--json")
    assert (done.returncode, done.stderr) == (0, "")
    counts = json.loads(done.stdout)
    assert {name: count["packets"] for name, count in counts.items()} == COUNTED
    [routed, *told] = sorted(frames(directory / "out4"), key=lambda frame: frame[23] == 1)
    assert routed == to_internet(inner(CLIENT4, HOST4, ttl=63))
    assert {(Ether(error)[ICMP].type, Ether(error)[ICMP].code) for error in told} == ERRORS
    sent = frames(directory / "out6")
    [pong] = [frame for frame in sent if frame.endswith(b"ping")]
    sent.remove(pong)
    assert sent == [
        to_client(CLIENT6, inner(HOST4, CLIENT4, ttl=63, tos=0x2E << 2), tos=0x2E << 2),
        to_client(OTHER6, inner(HOST4, OTHER4, ttl=1)),
        to_client(OTHER6, inner(CLIENT4, OTHER4, ttl=63)),
    ]
    answer = Ether(pong)
    assert (answer[IPv6].dst, answer[IP].src, answer[IP].dst) == (CLIENT6, TEP4, CLIENT4)
    assert (answer[ICMP].type, answer[ICMP].id, bytes(answer[Raw])) == (0, 3, b"ping")
    del answer[IP].chksum, answer[ICMP].chksum  # made anew
    assert bytes(answer) == pong


def test_more_packets_than_frames_and_a_table_for_people(directory: Path) -> None:
    frame = from_internet(inner(HOST4, CLIENT4))
    capture(directory / "in4", [frame] * 10_000)
    done = replay(directory, f"--in4={directory / 'in4'}", f"--flow-label={LABEL}")
    assert (done.returncode, done.stderr) == (0, "")
    [line] = [line for line in done.stdout.splitlines() if "ENCAPSULATED" in line]
    assert "10000" in line
    assert str(len(frame) * 10_000) in line
    sent = frames(directory / "out6")
    assert len(sent) == 10_000
    assert set(sent) == {to_client(CLIENT6, inner(HOST4, CLIENT4, ttl=63))}


def test_hairpin_can_be_refused(directory: Path) -> None:
    capture(directory / "in6", [from_client(CLIENT6, inner(CLIENT4, OTHER4))])
    done = replay(directory, f"--in6={directory / 'in6'}", "--no-hairpin", "--json")
    assert list(json.loads(done.stdout)) == ["DROP_HAIRPIN_OFF", "SENT_PROHIBITED"]
    [error] = [Ether(frame) for frame in frames(directory / "out6")]
    assert (error[IPv6].dst, error[IP].dst) == (CLIENT6, CLIENT4)
    assert (error[ICMP].type, error[ICMP].code) == (3, 13)


@pytest.mark.parametrize(
    ("arguments", "code", "problem"),
    [
        (["--in4=/nonexistent"], 1, "dstm-router: /nonexistent: packet 0: No such file"),
        (["--in4=/dev/null"], 1, "dstm-router: /dev/null: packet 0: "),
        (["--out4=/nonexistent/out"], 1, "dstm-router: /nonexistent/out: No such file"),
        (["--bindings=/nonexistent"], 1, "dstm-router: /nonexistent: No such file"),
        (["--pool=203.0.113.1/24"], 2, "--pool 203.0.113.1/24: 203.0.113.1/24 has host bits set"),
        (["--tep6=192.0.2.1"], 2, "--tep6 192.0.2.1: "),
        (["--mac4=02:00"], 2, "MAC address 02:00: expected six octets like 02:"),
        (["--mac4=nonsense"], 2, "MAC address nonsense: "),
    ],
)
def test_wrong_options_are_one_line(
    directory: Path, arguments: list[str], code: int, problem: str
) -> None:
    done = replay(directory, *arguments)
    assert done.returncode == code
    assert done.stderr.startswith(problem)
    assert done.stderr.count("\n") == 1


TOML = f"""
[router]
name = "gw"

[[port]]
interface = "eth0"

[umem]
chunk_size = 4096

[tunnel]
tep6 = ["{TEP6}"]
tep4 = "{TEP4}"
hop_limit = 255
flow_label = 7
mtu = 2000

[[pool]]
prefix = "203.0.113.0/24"
"""


def configured(directory: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    (directory / "router.toml").write_text(TOML)
    places = [f"--{name}={directory / name}" for name in ("out4", "out6", "bindings")]
    return inside(main, "replay", *places, *arguments)


def test_rules_of_a_configuration_and_links_with_tags_and_filters(directory: Path) -> None:
    config, in4 = f"--config={directory / 'router.toml'}", f"--in4={directory / 'in4'}"
    tagged = Ether(src=NEXT4, dst=MAC4) / Dot1Q(vlan=4) / inner(HOST4, CLIENT4)
    untagged = from_internet(inner(HOST4, CLIENT4))
    capture(directory / "in4", [bytes(tagged), untagged])
    links = ["--vlan4=4", "--vlan6=6", "--mtu6=2000"]
    done = configured(directory, config, in4, *links, "--compiled", "--json")
    assert (done.returncode, done.stderr) == (0, "")
    assert list(json.loads(done.stdout)) == ["ENCAPSULATED", "DROP_VLAN"]
    [sent] = frames(directory / "out6")
    outer = IPv6(src=TEP6, dst=CLIENT6, hlim=255, nh=4, fl=7)
    link = Ether(src=MAC6, dst=NEXT6) / Dot1Q(vlan=6)
    assert sent == bytes(link / outer / inner(HOST4, CLIENT4, ttl=63))
    refused = [config, in4, *links, "--filter-out6=len < 0", "--json"]
    done = configured(directory, *refused)
    assert list(json.loads(done.stdout)) == ["DROP_VLAN", "DROP_FILTER_OUT"]
    assert frames(directory / "out6") == []


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (
            ["--config={}/router.toml", "--tep6=::1"],
            "--config names tep6, tep4 and pools: not both",
        ),
        ([], "expected --config, or --tep6 and --pool"),
        (["--config={}/router.toml", "--filter-in4=nonsense("], "[[port]] #1 filter_in: "),
    ],
)
def test_options_that_do_not_go_together(
    directory: Path, arguments: list[str], problem: str
) -> None:
    done = configured(directory, *(argument.format(directory) for argument in arguments))
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith(problem)
