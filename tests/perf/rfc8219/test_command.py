"""The methods from end to end, in their quick mode, with real processes on veth pairs."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

from lab.netns import NETNS_DIR, PREFIX
from perf.gateway import MACS, Gateway
from perf.rfc8219 import main
from perf.rfc8219.bench import MTU
from perf.rfc8219.devices import Router

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = [
    pytest.mark.netns,
    pytest.mark.usefixtures("untraced"),
    pytest.mark.skipif(os.geteuid() != 0, reason="network namespaces need root"),
]
END_S = 120


def run(*words: str, prefix: tuple[str, ...] = ()) -> tuple[int, list[dict[str, Any]], str]:
    """Run a method; its exit code, figures and what it said meanwhile."""
    command = [*prefix, sys.executable, "-m", "perf.rfc8219", *words, "--quick", "--json"]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        try:
            output, said = process.communicate(timeout=END_S)
        finally:
            process.kill()
    assert list(NETNS_DIR.glob(f"{PREFIX}-{process.pid}-*")) == []
    return process.returncode, [json.loads(line) for line in output.splitlines()], said


def test_throughput_of_a_router() -> None:
    code, (figure,), said = run("throughput", "--direction", "both")
    assert code == 0, said
    assert figure["bench"] == "rfc8219-throughput"
    assert figure["direction"] == "both"
    assert figure["frame"] == 64
    assert figure["value"] > 0
    assert "Mpps" in said


@pytest.mark.parametrize(
    ("words", "works"),
    [
        (("latency", "--rate", "0.05"), {"min", "mean", "p50", "p99", "p99.9", "max"}),
        (("pdv", "--rate", "0.05"), {"PDV", "IPDV median", "IPDV max"}),
        (("loss", "--frames", "imix"), {"at 100 %", "at 70 %"}),
        (("back-to-back", "--longest", "0.1"), {"frames", "buffer", "corrected buffer"}),
        (("recovery", "--rate", "0.05"), {""}),
        (("scaling", "--over", "tunnels"), {"1 tunnels", "256 tunnels: degradation"}),
    ],
)
def test_methods_on_a_wire(words: tuple[str, ...], works: set[str]) -> None:
    """A wire loses nothing and has no memory: what is found is the tester's own."""
    code, figures, said = run(*words, "--device", "wire", "--direction", "both")
    assert code == 0, said
    found = {
        figure["work"].removeprefix("wire both").removeprefix(" imix").strip() for figure in figures
    }
    assert works <= found
    assert {figure["bench"] for figure in figures} == {f"rfc8219-{words[0]}"}
    if words[0] in {"loss", "recovery"}:
        assert max(figure["value"] for figure in figures) < 1  # per cent, milliseconds


def test_two_devices_are_joined_by_plain_ipv4() -> None:
    code, (figure,), said = run("throughput", "--device", "wire", "--dual", "--direction", "decap")
    assert code == 0, said
    assert figure["value"] > 0
    assert "the tester or the line is the limit" in said


def test_a_wire_cannot_be_reset() -> None:
    code, _, said = run("reset", "--device", "wire", "--rate", "0.05", "--reset-seconds", "0.6")
    assert code == 2
    assert "wire: no reset 'worker'" in said


@pytest.fixture
def gateway() -> Iterator[Gateway]:
    with Gateway(mtu=MTU, together=True) as made:
        yield made


def test_a_device_between_ports_given_by_name(gateway: Gateway) -> None:
    """As with real NICs: the tester knows two interfaces and the addresses behind them."""
    router = Router(gateway, "dstm-afxdp", 256)
    try:
        ports = ("--ports", "far6", "far4", "--macs", MACS["port6"], MACS["port4"])
        inside = ("ip", "netns", "exec", gateway.far6.name)
        code, figures, said = run("latency", *ports, "--rate", "0.02", prefix=inside)
        assert code == 0, said
        values = {figure["work"].rpartition(" ")[2]: figure["value"] for figure in figures}
        assert 0 < values["min"] <= values["p50"] <= values["p99"] <= values["max"]
        assert figures[0]["work"].startswith("external encap")
        wrong = ("--ports", "far6", "nothing", "--macs", MACS["port6"], MACS["port4"])
        code, _, said = run("latency", *wrong, prefix=inside)
        assert code == 2
        assert "interface 'nothing': No such device" in said
    finally:
        router.close()


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        ("loss --step 0 --device wire", "--step 0.0: expected"),
        ("throughput --ports a b", "--ports and --macs belong together"),
        ("throughput --dual", "--dual: give --ports"),
        ("throughput --device kernel --bindings 5000", "at most 4096 kernel tunnels"),
    ],
)
def test_options_that_cannot_be_are_refused(
    capsys: pytest.CaptureFixture[str], words: str, problem: str
) -> None:
    assert main(words.split()) == 2
    assert problem in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        ("throughput --bindings 0", "expected 1 to 1048576"),
        ("throughput --seconds -1", "expected a number over 0"),
        ("scaling --counts 1,2000000", "expected 1 to 1048576"),
        ("latency --rate nan", "expected a number over 0"),
        ("loss --frames 63", "--frames"),
        ("jitter", "invalid choice"),
    ],
)
def test_words_that_mean_nothing_are_refused(
    capsys: pytest.CaptureFixture[str], words: str, problem: str
) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(words.split())
    assert problem in capsys.readouterr().err
