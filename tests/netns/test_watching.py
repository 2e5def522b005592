"""dstmctl trace, capture and explain, asked of a real router in its modes."""

from __future__ import annotations

import json
import subprocess
from typing import TYPE_CHECKING, Any

import dpkt
import pytest

from lab.netns import PATIENCE_S
from lab.topology import CLIENT1, HOST4, PORT4, PORT6, TEP6
from tests.netns.conftest import LENT1
from tests.netns.gateway import Gateway, no_ping, pings, program

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.netns


@pytest.fixture(scope="module", params=["auto", "packet_mmap"])
def watched(request: pytest.FixtureRequest) -> Iterator[Gateway]:
    with Gateway(mode=request.param, workers=2) as gateway:
        gateway.start_router()
        gateway.bind(LENT1, CLIENT1)
        gateway.start_client(gateway.topology.client1, LENT1, CLIENT1)
        yield gateway


def start(gateway: Gateway, command: str, *arguments: str | Path) -> subprocess.Popen[str]:
    """Run dstmctl; it watches when this returns."""
    router = gateway.settings.router_control
    words = program("ctl", command, "--router", router, *map(str, arguments))
    asked = subprocess.Popen(words, stdout=subprocess.PIPE, text=True)
    gateway.wait_until(lambda: gateway.status()["watched"], "the watch")
    return asked


def lines_of(asked: subprocess.Popen[str]) -> list[dict[str, Any]]:
    said, _ = asked.communicate(timeout=PATIENCE_S)
    assert asked.returncode == 0
    return [json.loads(line) for line in said.splitlines()]


def explain(gateway: Gateway, what: str | Path, *arguments: str) -> list[dict[str, Any]]:
    words = ["--router", gateway.settings.router_control, "--json", *arguments, str(what)]
    done = subprocess.run(program("ctl", "explain", *words), stdout=-1, text=True, check=True)
    return [json.loads(line) for line in done.stdout.splitlines()]


def facts(packet: dict[str, Any]) -> dict[str, str]:
    return {fact["step"]: fact["text"] for fact in packet["facts"]}


def test_trace_shows_both_ways_and_what_was_sent(watched: Gateway) -> None:
    asked = start(watched, "trace", "--count", "2", "--filter", "icmp or ip6 proto 4", "--json")
    assert pings(watched.topology.client1, HOST4, 1) == 1
    out, back = lines_of(asked)
    assert (out["verdict"], out["port"], out["sent_by"]) == ("DECAPSULATED", PORT6, PORT4)
    assert (back["verdict"], back["port"], back["sent_by"]) == ("ENCAPSULATED", PORT4, PORT6)
    told = facts(out)
    assert f"{CLIENT1} -> {TEP6}" in told["outer"]
    assert f"{LENT1} -> {HOST4}, ICMP type 8" in told["packet"]
    assert told["source"].startswith(f"{LENT1} is bound to {CLIENT1} by {TEP6}, for ")
    assert told["source"].endswith("; the packet comes from it")
    assert told["destination"] == f"{HOST4} is in no pool"
    assert told["next hop"].endswith(f"by {PORT4}, MTU 1500")
    assert out["sent"][28:] == out["frame"][108:124] + "3f" + out["sent"][46:]  # TTL 63
    assert back["sent"][28:30] == "60"


def test_capture_has_verdicts_as_comments(watched: Gateway, tmp_path: Path) -> None:
    file = tmp_path / "dropped.pcapng"
    asked = start(watched, "capture", "-w", file, "--verdict", "DROP_NO", "--count", "3")
    assert pings(watched.topology.client1, HOST4, 3) == 3, "not wanted"
    assert no_ping(watched.topology.host4, "203.0.113.77", 3)
    said, _ = asked.communicate(timeout=PATIENCE_S)
    assert said == f"{file}: 3 frames\n"
    shown = subprocess.run(
        ["tcpdump", "-n", "-r", str(file)], capture_output=True, text=True, check=True
    )
    assert shown.stdout.count(f"{HOST4} > 203.0.113.77: ICMP echo request") == 3
    assert b"DROP_NO_BINDING: no lease binds this IPv4 destination" in file.read_bytes()
    with file.open("rb") as opened:
        assert len(list(dpkt.pcapng.Reader(opened))) == 3
    # What was captured is explained in the same way.
    packets = explain(watched, file, "--port", PORT4)
    assert any(packet["verdict"] == "SENT_HOST_UNREACHABLE" for packet in packets)
    for packet in (packet for packet in packets if not packet["made"]):
        assert packet["verdict"] == "DROP_NO_BINDING"
        assert facts(packet)["destination"] == "203.0.113.77 is in a pool, and nobody's"


def test_explained_packet_is_not_sent(watched: Gateway, tmp_path: Path) -> None:
    file = tmp_path / "sent.pcapng"
    asked = start(watched, "capture", "-w", file, "--verdict", "ENCAPSULATED", "--count", "1")
    assert pings(watched.topology.host4, LENT1, 1) == 1
    asked.communicate(timeout=PATIENCE_S)
    with file.open("rb") as opened:
        [(_, frame)] = list(dpkt.pcapng.Reader(opened))
    with watched.counting("ENCAPSULATED", 0):
        [packet] = explain(watched, frame.hex(" "), "--port", PORT4)
    assert (packet["verdict"], packet["sent_by"]) == ("ENCAPSULATED", PORT6)
    assert packet["frame"] == frame.hex()
    assert facts(packet)["steering"] == f"the program of {PORT4} takes it from the kernel"


def test_what_is_the_kernels_is_left_to_it(watched: Gateway) -> None:
    ssh = "02000000000102000000000286dd6000000000143b40" + bytes(32).hex() + bytes(20).hex()
    [packet] = explain(watched, ssh, "--port", PORT6)
    assert packet["verdict"] == "LEFT_TO_KERNEL"
    assert facts(packet)["outer"].endswith("next header 59; to none of our tep6")


def test_watch_of_a_dead_dstmctl_ends(watched: Gateway) -> None:
    asked = start(watched, "trace", "--count", "1")
    asked.kill()
    asked.communicate()
    watched.wait_until(lambda: not watched.status()["watched"], "the end of the watch")
    assert pings(watched.topology.client1, HOST4) == 5
