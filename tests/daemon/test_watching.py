"""The control methods of watches, without workers: the test puts the samples."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from dstmrouter.config.load import load_router
from dstmrouter.daemon import watching
from dstmrouter.daemon.router import Supervisor
from dstmrouter.daemon.tapboard import SLOTS, Sample
from dstmrouter.daemon.watching import Watching
from dstmrouter.errors import DstmError
from dstmrouter.io.pcapfilter import compile_filter
from dstmrouter.pipeline.verdict import Verdict
from lab.netns import PATIENCE_S
from tests.config.documents import ROUTER, edited
from tests.daemon.test_router_control import bind
from tests.io.frames import ethernet, udp4

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path

    Ask = Callable[..., Awaitable[dict[str, Any]]]
    Scenario = Callable[[Supervisor, Ask], Awaitable[None]]

TO_CLIENT = ethernet(0x0800, udp4("203.0.113.1", 9, b"data"))
SAMPLE = Sample(1_000_000_001, 0, TO_CLIENT, Verdict.DROP_TTL)
TWO_PORTS = '[[port]]\ninterface = "eth1"\nvlan = 100\n[tunnel]'


@pytest.fixture
def asking(tmp_path: Path) -> Callable[[Scenario], None]:
    """Run a scenario with a supervisor of two workers and a way to call its handlers."""
    file = tmp_path / "router.toml"
    document = edited(ROUTER, 'name = "gw1"', 'name = "gw1"\nworkers = 2')
    file.write_text(edited(document, "[tunnel]", TWO_PORTS))

    def run(scenario: Scenario) -> None:
        async def scene() -> None:
            router = Supervisor(load_router(file))
            handlers = Watching(router).handlers()

            async def ask(method: str, **params: object) -> dict[str, Any]:
                return await handlers[method](params)

            async with asyncio.timeout(PATIENCE_S):
                await scenario(router, ask)

        asyncio.run(scene())

    return run


def test_a_watch_from_start_to_stop(asking: Callable[[Scenario], None]) -> None:
    async def scenario(router: Supervisor, ask: Ask) -> None:
        taps = router.shared.taps
        begun = await ask("watch.start", verdicts=["drop_t"], program=compile_filter("udp"))
        assert begun["ports"] == ["eth0", "eth1.100"]
        order = taps.order()
        assert order is not None
        wanted = [verdict.name for verdict in Verdict if order.verdicts[verdict]]
        assert wanted == ["DROP_TTL", "DROP_TOO_BIG", "DROP_TOO_BIG_V4", "DROP_TX_FULL"]
        assert order.program == compile_filter("udp")
        for worker in (0, 1, 1):
            taps.put(worker, taps.version, SAMPLE)
        taps.miss(0, 4)
        answer = await ask("watch.take", watch=begun["watch"], limit=2)
        assert [packet["worker"] for packet in answer["packets"]] == [0, 1]
        assert answer["missed"] == 4
        [packet] = (await ask("watch.take", watch=begun["watch"], facts=True))["packets"]
        assert packet["facts"][0]["text"].startswith("in by eth0, ")
        del packet["facts"]
        assert packet == {
            "worker": 1,
            "port": "eth0",
            "time_ns": 1_000_000_001,
            "made": False,
            "frame": TO_CLIENT,
            "verdict": "DROP_TTL",
            "help": Verdict.DROP_TTL.help,
            "sent_by": None,
            "sent": b"",
        }
        await ask("watch.stop", watch=begun["watch"])
        assert not taps.armed
        with pytest.raises(DstmError, match="this watch is over"):
            await ask("watch.take", watch=begun["watch"])

    asking(scenario)


def test_take_waits_for_a_packet(asking: Callable[[Scenario], None]) -> None:
    async def scenario(router: Supervisor, ask: Ask) -> None:
        begun = await ask("watch.start")
        taking = asyncio.ensure_future(ask("watch.take", watch=begun["watch"]))
        await asyncio.sleep(0)
        router.shared.taps.put(0, router.shared.taps.version, SAMPLE)
        assert len((await taking)["packets"]) == 1
        assert (await ask("watch.take", watch=begun["watch"]))["packets"] == []

    asking(scenario)


def test_one_watch_at_a_time_and_it_ends_by_itself(
    asking: Callable[[Scenario], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    async def scenario(router: Supervisor, ask: Ask) -> None:
        begun = await ask("watch.start")
        with pytest.raises(DstmError, match="somebody else is watching"):
            await ask("watch.start")
        monkeypatch.setattr(watching, "LEASE_S", 0.01)
        await ask("watch.take", watch=begun["watch"], limit=1)
        while router.shared.taps.armed:
            await asyncio.sleep(0)
        assert (await ask("watch.start"))["watch"] != begun["watch"]

    asking(scenario)


@pytest.mark.parametrize(
    ("method", "params", "problem"),
    [
        ("watch.start", {"verdicts": ["DROP_X"]}, "verdict 'DROP_X': `dstmctl counters --all`"),
        ("watch.start", {"verdicts": "DROP"}, "verdicts: expected a list"),
        ("watch.start", {"verdicts": [1]}, "verdicts: expected a list"),
        ("watch.start", {"program": b"12345678"}, "filter: instruction 0"),
        ("watch.start", {"program": "udp"}, "program: expected the octets"),
        ("watch.take", {"watch": ""}, "this watch is over"),
        ("watch.take", {"limit": SLOTS + 1}, "limit 65: expected"),
        ("watch.stop", {}, "this watch is over"),
        ("explain", {}, "frames: expected a list"),
        ("explain", {"frames": ["x"]}, "frames: expected a list"),
        ("explain", {"frames": []}, "0 frames: expected 1 to 32"),
        ("explain", {"frames": [b""] * 33}, "33 frames: expected 1 to 32"),
        ("explain", {"frames": [b""], "port": "eth9"}, "port 'eth9': expected one of eth0, eth1"),
        ("explain", {"frames": [bytes(1793)]}, "frame of 1793 octets"),
    ],
)
def test_wrong_questions_are_refused(
    asking: Callable[[Scenario], None], method: str, params: dict[str, Any], problem: str
) -> None:
    async def scenario(router: Supervisor, ask: Ask) -> None:
        with pytest.raises(DstmError) as caught:
            await ask(method, **params)
        assert str(caught.value).startswith(problem)
        assert not router.shared.taps.armed

    asking(scenario)


def test_explain_goes_by_the_tables_and_takes_the_port_of_the_tag(
    asking: Callable[[Scenario], None],
) -> None:
    async def scenario(router: Supervisor, ask: Ask) -> None:
        tagged = ethernet(0x0800, udp4("203.0.113.2", 9, b"data"), vid=100)
        for number in (0, 1):
            vlan = router.config.port[number].vlan
            router.shared.tables.ports.set(number, mac=bytes(6), mtu=1500, vlan=vlan)
        await bind(router, 1)
        first, second = (await ask("explain", frames=[TO_CLIENT, tagged]))["packets"]
        assert (first["port"], first["verdict"]) == ("eth0", "DROP_UNREACHABLE")
        assert "is bound to 2001:db8::1 by 2001:db8:f::1, for ever, says s1" in str(first["facts"])
        assert (second["port"], second["verdict"]) == ("eth1.100", "DROP_NO_BINDING")
        assert (first["number"], second["number"]) == (0, 1)
        [other] = (await ask("explain", frames=[TO_CLIENT], port="eth1.100"))["packets"]
        assert other["verdict"] == "DROP_VLAN"

    asking(scenario)


def test_steering_has_the_first_word(asking: Callable[[Scenario], None]) -> None:
    class Steering:
        answer: bool | None = True

        def takes(self, interface: str, frame: bytes) -> bool | None:
            assert (interface, frame) == ("eth0", TO_CLIENT)
            return self.answer

    async def scenario(router: Supervisor, ask: Ask) -> None:
        router.attachment = steering = Steering()  # type: ignore[assignment]
        [packet] = (await ask("explain", frames=[TO_CLIENT]))["packets"]
        assert packet["facts"][0]["text"] == "the program of eth0 takes it from the kernel"
        assert packet["verdict"] == "DROP_NO_BINDING"
        steering.answer = False
        [packet] = (await ask("explain", frames=[TO_CLIENT]))["packets"]
        assert packet["facts"][0]["text"] == "the program of eth0 leaves it to the kernel"
        assert packet["verdict"] == "LEFT_TO_KERNEL"
        steering.answer = None
        [packet] = (await ask("explain", frames=[TO_CLIENT]))["packets"]
        assert packet["facts"][0]["step"] == "link"

    asking(scenario)
