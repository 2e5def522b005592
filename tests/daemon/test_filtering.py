"""Filters of ports over the real engine: what they drop, count and give back."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from dstmrouter.config.router import PortConfig
from dstmrouter.daemon.filtering import Filtered, compile_filters, filtered
from dstmrouter.errors import ConfigError
from dstmrouter.pipeline.compiled.forward import CompiledForwarder
from dstmrouter.pipeline.forward import Forwarder
from dstmrouter.pipeline.outcome import Made, Outcome
from dstmrouter.pipeline.verdict import Verdict
from tests.daemon.test_engine import RULES, TO_CLIENT, Machine
from tests.io.frames import ethernet, udp4

if TYPE_CHECKING:
    from collections.abc import Iterator

    import numpy.typing as npt

TO_PORT_80 = ethernet(0x0800, udp4("203.0.113.1", 80, b"data"))
UNBOUND = ethernet(0x0800, udp4("203.0.113.9", 9, b"data"))


class FilteredMachine(Machine):
    """Port 0 lets in no UDP to port 80, port 1 lets out what `out` says."""

    def __init__(self, engine: str, out: str = "") -> None:
        super().__init__()
        steps = self.engine.forwarder
        assert isinstance(steps, Forwarder)
        if engine == "compiled":
            steps = CompiledForwarder(self.umem.memory, self.tables, RULES, steps)
        ports = [
            PortConfig(interface="port4", filter_in="not dst port 80"),
            PortConfig(interface="port6", filter_out=out),
        ]
        self.engine.forwarder = filtered(steps, self.umem.memory, compile_filters(ports))
        assert self.engine.forwarder.engine == engine


@pytest.fixture(params=["numpy", "compiled"])
def machine(request: pytest.FixtureRequest) -> Iterator[FilteredMachine]:
    made = FilteredMachine(request.param)
    yield made
    made.close()


def test_nothing_stands_between_without_filters() -> None:
    machine = Machine()
    steps = machine.engine.forwarder
    codes = compile_filters([PortConfig(interface="eth0"), PortConfig(interface="eth1")])
    assert codes == [(b"", b"")] * 2
    assert filtered(steps, machine.umem.memory, codes) is steps
    machine.close()


def test_what_is_not_let_in_is_dropped(machine: FilteredMachine) -> None:
    machine.ports[0].feed([TO_CLIENT, TO_PORT_80, UNBOUND, TO_PORT_80, TO_CLIENT])
    assert machine.run() == 5
    sent = machine.ports[1].take_sent()
    assert len(sent) == 2
    assert all(frame.endswith(b"data") for frame in sent)
    assert machine.count(Verdict.DROP_FILTER_IN) == 2
    assert machine.count(Verdict.ENCAPSULATED) == 2
    assert machine.count(Verdict.DROP_NO_BINDING) == 1


@pytest.mark.parametrize("frames", [[TO_PORT_80] * 3, [TO_CLIENT] * 3])
def test_bursts_of_one_kind(machine: FilteredMachine, frames: list[bytes]) -> None:
    machine.ports[0].feed(frames)
    assert machine.run() == 3
    verdict = Verdict.DROP_FILTER_IN if frames[0] is TO_PORT_80 else Verdict.ENCAPSULATED
    assert machine.count(verdict) == 3


@pytest.mark.parametrize("engine", ["numpy", "compiled"])
def test_what_is_not_let_out_is_dropped(engine: str) -> None:
    machine = FilteredMachine(engine, out="ip6 proto 4 and ip6[62:2] = 7")
    machine.count_usage()
    to_seven = ethernet(0x0800, udp4("203.0.113.1", 7, b"data"))
    machine.ports[0].feed([TO_CLIENT, to_seven, TO_CLIENT, TO_PORT_80])
    assert machine.run() == 4
    assert len(machine.ports[1].take_sent()) == 1
    assert machine.count(Verdict.DROP_FILTER_OUT) == 2
    assert machine.count(Verdict.ENCAPSULATED) == 1
    assert machine.usage() == [1, len(to_seven) - 14, 0, 0]
    machine.close()


def test_nothing_leaves() -> None:
    machine = FilteredMachine("numpy", out="arp")
    machine.ports[0].feed([TO_CLIENT] * 5)
    assert machine.run() == 5
    assert machine.ports[1].take_sent() == []
    assert machine.count(Verdict.DROP_FILTER_OUT) == 5
    machine.close()


class Making:
    """Makes two packets, one of which no filter lets out."""

    engine = "numpy"

    def __init__(self, machine: Machine) -> None:
        self._machine = machine

    def process(
        self, at: npt.NDArray[np.int64], length: npt.NDArray[np.int64], port: int, now_s: float
    ) -> Outcome:
        raise AssertionError((at, length, port, now_s))

    def expire(self, _now_s: float) -> Outcome:
        umem = self._machine.umem
        own = umem.pool.take(2).astype(np.int64) + 256
        for start, frame in zip(own.tolist(), (TO_CLIENT, TO_PORT_80), strict=True):
            umem.memory[start : start + len(frame)] = frame
        verdicts = np.full(2, Verdict.ECHO_ANSWERED, np.uint8)
        made = Made(1, verdicts, own, np.full(2, len(TO_CLIENT)))
        return Outcome(np.zeros(0, np.uint8), made=[made])

    def held(self) -> int:
        return 0


def test_packets_of_our_own_are_filtered_too() -> None:
    machine = Machine()
    out = PortConfig(interface="port6", filter_out="not dst port 80")
    codes = compile_filters([PortConfig(interface="port4"), out])
    machine.engine.forwarder = Filtered(Making(machine), machine.umem.memory, codes)
    machine.engine.turn(1)
    assert machine.engine.missing() == 0
    assert machine.ports[1].take_sent() == [TO_CLIENT]
    assert machine.count(Verdict.ECHO_ANSWERED) == 1
    assert machine.count(Verdict.DROP_FILTER_OUT) == 1
    assert machine.engine.forwarder.held() == 0
    machine.close()


@pytest.mark.parametrize(
    ("key", "expression", "problem"),
    [
        ("filter_in", "udp prot 5", r"\[\[port\]\] #2 filter_in: filter 'udp prot 5': .*syntax"),
        ("filter_out", "ip6 protochain 4", r"\[\[port\]\] #2 filter_out: .*protochain"),
    ],
)
def test_wrong_expressions_name_port_and_key(key: str, expression: str, problem: str) -> None:
    ports = [
        PortConfig(interface="eth0"),
        PortConfig.model_validate({"interface": "eth1", key: expression}),
    ]
    with pytest.raises(ConfigError, match=problem):
        compile_filters(ports)
