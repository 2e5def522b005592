from __future__ import annotations

import dataclasses
from functools import cache
from typing import Any

import pytest

from dstmrouter.pipeline.rules import IcmpRules
from tests.pipeline import packets, worlds
from tests.pipeline.machine import Machine
from tests.pipeline.packets import ether, ipv4, ipv6, tunnelled
from tests.pipeline.told import Told, told

CLIENT1 = (str(worlds.TEP6), str(worlds.CLIENTS6[1]))
FAR, LEASED1 = str(packets.FAR), str(worlds.leased(1))
SILENT = Told("", None, "", 0, 0, 0, b"")


@cache
def machine(**changes: Any) -> Machine:
    rules = {field.name for field in dataclasses.fields(worlds.RuleSpec)} & changes.keys()
    icmp = dataclasses.replace(
        worlds.ICMP, **{name: value for name, value in changes.items() if name not in rules}
    )
    return Machine(worlds.world(icmp=icmp, **{name: changes[name] for name in rules}))


def errors(frame: bytes, port: int, **changes: Any) -> list[Told]:
    router = machine(**changes)
    router.run([frame], port, worlds.NOW_S)
    return [told(fate) for fate in router.made]


def from_internet(**fields: Any) -> tuple[bytes, int]:
    return ether(ipv4(**fields)), worlds.INTERNET


def from_client(**fields: Any) -> tuple[bytes, int]:
    return tunnelled(**fields), worlds.ACCESS


@pytest.mark.parametrize(
    ("sent", "wanted"),
    [
        # R3: no binding; the answer goes back by the route.
        (
            from_internet(dst=worlds.leased(200)),
            ("SENT_HOST_UNREACHABLE", worlds.INTERNET, FAR, 3, 1, 0, None),
        ),
        # R4: traceroute sees us from both sides, and between clients.
        (from_internet(ttl=1), ("SENT_TTL", worlds.INTERNET, FAR, 11, 0, 0, None)),
        (from_internet(ttl=0), ("SENT_TTL", worlds.INTERNET, FAR, 11, 0, 0, None)),
        (from_client(ttl=1), ("SENT_TTL", worlds.ACCESS, LEASED1, 11, 0, 0, CLIENT1)),
        (
            from_client(ttl=1, dst=worlds.leased(3)),
            ("SENT_TTL", worlds.ACCESS, LEASED1, 11, 0, 0, CLIENT1),
        ),
        # R16, R3: an unbound peer in our own pool.
        (
            from_client(dst=worlds.leased(200)),
            ("SENT_HOST_UNREACHABLE", worlds.ACCESS, LEASED1, 3, 1, 0, CLIENT1),
        ),
        # R18: the MTU is the tunnel's, 40 octets less than the path's.
        (
            from_internet(payload=bytes(1441)),
            ("SENT_TOO_BIG", worlds.INTERNET, FAR, 3, 4, 1460, None),
        ),
        (
            from_client(payload=bytes(1441), dst=worlds.leased(3)),
            ("SENT_TOO_BIG", worlds.ACCESS, LEASED1, 3, 4, 1460, CLIENT1),
        ),
        # R18: the MTU of the IPv4 link behind us.
        (
            from_client(payload=bytes(581), dst="10.1.0.1"),
            ("SENT_TOO_BIG", worlds.ACCESS, LEASED1, 3, 4, 600, CLIENT1),
        ),
        # R15: no route, and no way to the client.
        (
            from_client(dst="10.4.0.1"),
            ("SENT_NET_UNREACHABLE", worlds.ACCESS, LEASED1, 3, 0, 0, CLIENT1),
        ),
        (
            from_internet(dst=worlds.leased(7)),
            ("SENT_HOST_UNREACHABLE", worlds.INTERNET, FAR, 3, 1, 0, None),
        ),
        (
            from_client(dst=worlds.leased(7)),
            ("SENT_HOST_UNREACHABLE", worlds.ACCESS, LEASED1, 3, 1, 0, CLIENT1),
        ),
    ],
)
def test_whoever_sent_it_is_told(
    sent: tuple[bytes, int],
    wanted: tuple[str, int, str, int, int, int, tuple[str, str] | None],
) -> None:
    [error] = errors(*sent)
    *first, tunnel = wanted
    assert dataclasses.astuple(error)[:6] == tuple(first)
    assert error.tunnel == tunnel


@pytest.mark.parametrize(
    "frame",
    [
        from_client(ttl=1, tos=0xB9),
        from_client(dst=worlds.leased(200), tos=3),
        (ether(ipv6(ipv4(worlds.leased(1), ttl=1), traffic_class=0x88)), worlds.ACCESS),
        (
            ether(ipv6(packets.OPTIONS + ipv4(worlds.leased(1), ttl=1), next_header=60)),
            worlds.ACCESS,
        ),
        (ether(ipv4(ttl=1, options=b"\1" * 12), tci=0), worlds.INTERNET),
    ],
)
def test_r23_the_quote_is_the_packet_as_it_arrived(frame: tuple[bytes, int]) -> None:
    [error] = errors(*frame)
    assert frame[0].endswith(error.quote)
    assert error.quote[8] in {1, 64}, "the TTL before we would have counted it down"
    assert error.quote[0] >> 4 == 4


def test_r16_hairpinning_off_is_told_and_what_tells_so_is_tunnelled_all_the_same() -> None:
    [error] = errors(*from_client(dst=worlds.leased(3)), hairpin=False)
    assert dataclasses.astuple(error)[:6] == ("SENT_PROHIBITED", worlds.ACCESS, LEASED1, 3, 13, 0)
    assert error.tunnel == CLIENT1


@pytest.mark.parametrize(
    ("frame", "changes"),
    [
        (from_internet(dst=worlds.leased(200)), {"host_unreachable": False}),
        (from_internet(dst=worlds.leased(200)), {"generate_icmpv4": False}),
        (from_internet(ttl=1), {"generate_icmpv4": False}),
        (from_client(dst=worlds.leased(3)), {"hairpin": False, "prohibited": False}),
        (from_internet(ttl=1), {"tep4": None}),
    ],
)
def test_the_operator_may_keep_us_silent(frame: tuple[bytes, int], changes: dict[str, Any]) -> None:
    assert errors(*frame, **changes) == []


@pytest.mark.parametrize(
    "frame",
    [
        from_internet(dst=worlds.leased(200), fragment=5),
        from_internet(ttl=1, fragment=0x2005),
        from_internet(ttl=1, protocol=1, payload=packets.echo(3)),
        from_internet(ttl=1, protocol=1, payload=packets.echo(11)),
        from_internet(src="224.0.0.9", ttl=1),
        from_internet(src="0.0.0.0", ttl=1),
        from_internet(src=str(worlds.TEP4), ttl=1),
        from_internet(ttl=1, dst=str(worlds.TEP4)),
        from_internet(ttl=1, sum_off=1),
        from_client(dst="10.2.0.1"),  # the neighbour is being asked for
    ],
)
def test_r24_and_what_calls_for_no_error(frame: tuple[bytes, int]) -> None:
    assert errors(*frame) == []


@pytest.mark.parametrize(
    ("payload", "protocol", "count"),
    [(packets.UDP_PORTS + b"data", 17, 1), (packets.echo(ident=7), 1, 0)],
)
def test_messages_to_no_port_set_are_dropped_silently_but_not_datagrams(
    payload: bytes, protocol: int, count: int
) -> None:
    frame = ether(ipv4(dst=worlds.leased(5), payload=payload, protocol=protocol))
    assert len(errors(frame, worlds.INTERNET)) == count


def test_an_unbound_whole_address_is_told_of_to_pings() -> None:
    frame, port = from_internet(dst=worlds.leased(200), payload=packets.echo(), protocol=1)
    assert [error.code for error in errors(frame, port)] == [1]


def test_a_smaller_path_has_a_smaller_mtu() -> None:
    [error] = errors(*from_internet(payload=bytes(1400)), path_mtu=1280)
    assert error.rest == 1240


def test_the_ttl_is_the_operators() -> None:
    router = machine(ttl=255)
    router.run([from_internet(ttl=1)[0]], worlds.INTERNET, worlds.NOW_S)
    [fate] = router.made
    assert fate.frame is not None
    assert fate.frame[14 + 8] == 255


def test_answers_of_ours_that_do_not_fit_are_not_told_of() -> None:
    message = packets.echo(data=bytes(1433))
    inner = ipv4(worlds.leased(1), worlds.TEP4, message, protocol=1)
    router = machine()
    [fate] = router.run([ether(ipv6(inner))], worlds.ACCESS, worlds.NOW_S)
    assert (fate.verdict, router.made) == ("DROP_TOO_BIG", [])


def test_the_frames_of_the_packets_stay_as_they_came() -> None:
    router = machine()
    frame, port = from_client(ttl=1)
    [fate] = router.run([frame], port, worlds.NOW_S)
    assert (fate.verdict, fate.frame) == ("DROP_TTL", None)
    assert frame in router.memory


def test_all_is_on_by_default() -> None:
    rules = IcmpRules()
    assert (rules.generate_icmpv4, rules.host_unreachable, rules.prohibited) == (True,) * 3
    assert (rules.relay, rules.ttl, rules.access_prefixes) == (True, 64, ())
