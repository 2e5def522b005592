from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from dstmrouter.io.capturefile import CaptureWriter, read_packets
from dstmrouter.io.pcapfilter import compile_filter
from tests.cli.daemons import dstmctl
from tests.cli.test_ctl import ask
from tests.zmqctl.sockets import control_in_thread

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

FRAME, SENT = bytes(range(60)), bytes(range(100))
PACKET: dict[str, Any] = {
    "port": "port4",
    "time_ns": 1_700_000_000_123_456_789,
    "made": False,
    "frame": FRAME,
    "verdict": "ENCAPSULATED",
    "help": "into a tunnel",
    "facts": [
        {"step": "link", "text": "in by port4, untagged"},
        {"step": "destination", "text": "203.0.113.1 is bound"},
    ],
    "sent_by": "port6",
    "sent": SENT,
}
METHODS = ("watch.start", "watch.take", "watch.stop", "explain")


class Router:
    """Has two packets for every watch.take, and explains all packets alike."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, dict[str, Any]]] = []
        self.missed = 0

    def answer(self, method: str, params: dict[str, Any]) -> dict[str, Any]:
        if method == "watch.start":
            return {"watch": "secret", "ports": ["port6", "port4"]}
        if method == "watch.take":
            made = PACKET | {"made": True, "sent": b"", "sent_by": None}
            packets = [PACKET | {"worker": 0}, made | {"worker": 1}]
            return {"packets": packets[: params["limit"]], "missed": self.missed}
        if method == "explain":
            count = range(len(params["frames"]))
            return {"packets": [PACKET | {"number": number} for number in count]}
        return {}

    def handlers(self) -> dict[str, Any]:
        def make(method: str) -> Any:
            async def handle(params: dict[str, Any]) -> dict[str, Any]:
                self.asked.append((method, params))
                return self.answer(method, params)

            return handle

        return {method: make(method) for method in METHODS}


@pytest.fixture
def router() -> Router:
    return Router()


@pytest.fixture
def endpoint(tmp_path: Path, router: Router) -> Iterator[str]:
    with control_in_thread(f"ipc://{tmp_path}/c", handlers=router.handlers()) as server:
        yield server.endpoint


def test_trace_tells_a_story_a_packet(endpoint: str, router: Router) -> None:
    text = ask("trace", "--router", endpoint, "--count", "3", "--filter", "udp port 53")
    assert text.count("worker 0\n") == 2
    assert text.count("worker 1\n") == 1
    lines = text.splitlines()
    assert lines[0].endswith(".123456 worker 0")
    assert lines[1:5] == [
        "  link         in by port4, untagged",
        "  destination  203.0.113.1 is bound",
        "  verdict      ENCAPSULATED: into a tunnel",
        f"  sent         by port6, 100 octets: {SENT.hex()}",
    ]
    methods = [method for method, _ in router.asked]
    assert methods == ["watch.start", "watch.take", "watch.take", "watch.stop"]
    start, take = router.asked[0][1], router.asked[1][1]
    assert start == {"verdicts": [], "program": compile_filter("udp port 53")}
    assert take == {"watch": "secret", "limit": 3, "facts": True}


def test_trace_for_scripts(endpoint: str, router: Router) -> None:
    text = ask("trace", "--router", endpoint, "--count", "1", "--verdict", "DROP_TTL", "--json")
    assert json.loads(text)["sent"] == SENT.hex()
    assert router.asked[0][1]["verdicts"] == ["DROP_TTL"]


def test_trace_ends_with_its_time(endpoint: str, router: Router) -> None:
    ask("trace", "--router", endpoint, "--count", "1000000", "--seconds", "0.1")
    assert router.asked[-1][0] == "watch.stop"


def test_what_was_missed_is_told(endpoint: str, router: Router) -> None:
    router.missed = 7
    done = dstmctl("trace", "--router", endpoint, "--count", "1")
    assert done.stderr == "7 more packets came faster than they were taken\n"


@pytest.mark.parametrize("sent", [False, True])
def test_capture_writes_frames_and_comments(endpoint: str, tmp_path: Path, sent: bool) -> None:
    file = tmp_path / "a.pcapng"
    words = ["--count", "2", "-w", str(file), *(["--sent"] if sent else [])]
    frames = 3 if sent else 2
    assert ask("capture", "--router", endpoint, *words) == f"{file}: {frames} frames\n"
    assert list(read_packets(file)) == ([FRAME, SENT, FRAME] if sent else [FRAME, FRAME])
    octets = file.read_bytes()
    assert b"ENCAPSULATED: into a tunnel (in by port4)" in octets
    assert b"ENCAPSULATED: into a tunnel (our own, out by port4)" in octets
    assert (b"ENCAPSULATED: sent by port6" in octets) is sent


@pytest.mark.parametrize("text", ["0001 0203", "00:01:02:03", "0x00010203", "0001.0203\n"])
def test_explain_takes_digits_as_people_write_them(
    endpoint: str, router: Router, text: str
) -> None:
    told = ask("explain", "--router", endpoint, "--port", "port4", text)
    assert router.asked == [("explain", {"frames": [bytes(range(4))], "port": "port4"})]
    assert told.splitlines()[0].endswith(" packet 1")


def test_explain_takes_a_capture_in_parts(endpoint: str, router: Router, tmp_path: Path) -> None:
    writer = CaptureWriter(tmp_path / "a.pcap")
    for number in range(50):
        writer.write(bytes([number]) * 60)
    writer.close()
    words = ["--count", "40", str(tmp_path / "a.pcap"), "--json"]
    told = [json.loads(line) for line in ask("explain", "--router", endpoint, *words).splitlines()]
    assert [packet["number"] for packet in told] == list(range(40))
    assert [len(params["frames"]) for _, params in router.asked] == [32, 8]


@pytest.mark.parametrize(
    ("words", "code", "problem"),
    [
        (("trace", "--filter", "udp prot"), 2, "filter 'udp prot': "),
        (("explain", "nonsense"), 2, "nonsense: neither hexadecimal digits nor a file"),
        (("explain", "pyproject.toml"), 1, "pyproject.toml: packet 0: "),
        (("capture", "-w", "/absent/x"), 1, "/absent/x: No such file"),
        (("capture",), 2, "--write"),
    ],
)
def test_what_is_wrong_is_one_line(
    endpoint: str, words: tuple[str, ...], code: int, problem: str
) -> None:
    done = dstmctl(words[0], "--router", endpoint, *words[1:])
    assert (done.returncode, done.stdout) == (code, "")
    assert problem in done.stderr
    assert "Traceback" not in done.stderr
