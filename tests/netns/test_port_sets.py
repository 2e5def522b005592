"""Two hosts with one IPv4 address: a real router, bindings by pushes and by a real server."""

from __future__ import annotations

import contextlib
import dataclasses
import socket
from typing import TYPE_CHECKING, Final

import pytest

from dstmrouter.zmqctl import Binding
from lab.netns import wait_until
from lab.topology import CLIENT1, CLIENT2, HOST4, POOL, TEP4, TEP6
from lab.transfer import download, random_file, serve
from tests.netns.echoes import Form
from tests.netns.flows import PORT, Client
from tests.netns.gateway import Gateway, no_ping, pings

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from lab.netns import Namespace

pytestmark = pytest.mark.netns
SHARED: Final = "203.0.113.7"
TIMEOUT_S: Final = 5.0
LOST_S: Final = 0.3
# psid_offset 0 and psid_len 4: 16 port sets of 4,096 ports. The raw clients get PORT.
SETS: Final = {1: (4096, 8191), 2: (8192, 12287)}
assert SETS[1][0] <= PORT <= SETS[1][1]


@dataclasses.dataclass
class Sharer:
    """A host that has SHARED and one of its port sets."""

    space: Namespace
    client6: str
    psid: int

    @property
    def first(self) -> int:
        return SETS[self.psid][0]

    def use_ports(self, first: int, last: int) -> None:
        """What the kernel takes for connections that do not say."""
        self.space.sysctl({"net.ipv4.ip_local_port_range": f"{first} {last}"})

    def binding(self, psid: int | None = None) -> Binding:
        psid = self.psid if psid is None else psid
        return Binding(SHARED, self.client6, TEP6, 600, psid_len=4, psid=psid)


def sharers(gateway: Gateway) -> tuple[Sharer, Sharer]:
    lab = gateway.topology
    return Sharer(lab.client1, CLIENT1, 1), Sharer(lab.client2, CLIENT2, 2)


@pytest.fixture(scope="module", params=["auto", "packet_mmap"])
def shared(request: pytest.FixtureRequest) -> Iterator[Gateway]:
    with Gateway(mode=request.param) as gateway:
        gateway.start_router()
        hosts = sharers(gateway)
        with gateway.pusher() as pusher:
            assert pusher.put([host.binding() for host in hosts]).applied == 2
        for host in hosts:
            gateway.start_client(host.space, SHARED, host.client6)
            host.use_ports(*SETS[host.psid])
        yield gateway


@contextlib.contextmanager
def udp(space: Namespace, address: str, port: int = 0) -> Iterator[socket.socket]:
    with space.entered():
        made = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    with made:
        made.bind((address, port))
        made.settimeout(TIMEOUT_S)
        yield made


def ping(space: Namespace, target: str, ident: int) -> int:
    return pings(space, target, 3, Form(ident=ident))


def no_ping_of(space: Namespace, target: str, ident: int) -> bool:
    return no_ping(space, target, 3, Form(ident=ident))


def test_each_sharer_has_its_own_connections(shared: Gateway, tmp_path: Path) -> None:
    content = random_file(tmp_path / "file", 1 << 20)
    from_host4 = serve(shared.topology.host4, tmp_path, HOST4)
    for number, host in enumerate(sharers(shared)):
        assert download(host.space, f"{from_host4}/file", tmp_path / f"got{number}") == content


def test_each_sharer_is_reached_by_its_ports(shared: Gateway) -> None:
    with contextlib.ExitStack() as undo:
        hosts = sharers(shared)
        inside = [undo.enter_context(udp(h.space, SHARED, h.first + 7)) for h in hosts]
        host4 = undo.enter_context(udp(shared.topology.host4, HOST4))
        for host, end in zip(hosts, inside, strict=True):
            host4.sendto(host.client6.encode(), (SHARED, host.first + 7))
            said, asker = end.recvfrom(100)
            assert said == host.client6.encode()
            end.sendto(b"here", asker)
            assert host4.recvfrom(100) == (b"here", (SHARED, host.first + 7))
        before = shared.count("DROP_NO_BINDING")
        host4.sendto(b"?", (SHARED, 53))
        shared.wait_until(lambda: shared.count("DROP_NO_BINDING") == before + 1, "the drop")


def test_r12_a_sharer_cannot_use_the_ports_of_another(shared: Gateway) -> None:
    one, two = sharers(shared)
    with (
        udp(shared.topology.host4, HOST4) as host4,
        udp(two.space, SHARED, one.first + 9) as thief,
        shared.counting("DROP_SPOOF_PORT", 1),
    ):
        thief.sendto(b"not mine", host4.getsockname())
        host4.settimeout(LOST_S)
        with pytest.raises(TimeoutError):
            host4.recv(100)


def test_r25_pings_by_identifier(shared: Gateway) -> None:
    one, two = sharers(shared)
    assert ping(one.space, HOST4, one.first + 1) == 3
    assert ping(two.space, HOST4, two.first + 1) == 3
    assert ping(one.space, TEP4, one.first + 2) == 3
    assert ping(shared.topology.host4, SHARED, one.first + 3) == 3
    with shared.counting("DROP_SPOOF_PORT", 3):
        assert no_ping_of(two.space, HOST4, one.first + 4)


def test_r25_errors_find_their_way_in_both_directions(shared: Gateway) -> None:
    host4 = shared.topology.host4
    for host in sharers(shared):
        with udp(host.space, SHARED, host.first + 20) as inside:
            inside.connect((HOST4, 9))
            inside.send(b"nobody listens")
            with pytest.raises(ConnectionRefusedError):
                inside.recv(100)
        with udp(host4, HOST4) as outside:
            outside.connect((SHARED, host.first + 21))
            outside.send(b"nobody listens")
            with pytest.raises(ConnectionRefusedError):
                outside.recv(100)


def test_r16_sharers_reach_each_other() -> None:
    with Gateway() as gateway:
        gateway.start_router()
        one, two = sharers(gateway)
        with gateway.pusher() as pusher:
            pusher.put([one.binding(), two.binding()])
        with Client(one.space, CLIENT1) as receiver, Client(two.space, CLIENT2) as sender:
            sport = two.first + 1

            def passes() -> bool:  # not before the kernel knows the neighbour
                sender.send(SHARED, SHARED, 77, sport)
                with contextlib.suppress(Exception):
                    wait_until(lambda: sport in receiver.got, "the packet", LOST_S)
                return sport in receiver.got

            gateway.wait_until(passes, "a packet from sharer to sharer")
            assert gateway.count("HAIRPINNED") > 0


def grant(gateway: Gateway, host: Sharer) -> dict[str, object]:
    wanted = {"client6": host.client6, "ipv4": SHARED, "psid": host.psid, "port_set": True}
    return gateway.lessor.call("lease.grant", timeout_s=20, **wanted)


def test_leases_of_port_sets_from_the_server_to_the_packets(tmp_path: Path) -> None:
    pool = f'prefix = "{POOL}"'
    content = random_file(tmp_path / "file", 1 << 16)
    with Gateway(
        with_server=True, changes={f"{pool}\n\n[tep]": f"{pool}\npsid_len = 4\n\n[tep]"}
    ) as gateway:
        gateway.start_both()
        from_host4 = serve(gateway.topology.host4, tmp_path, HOST4)
        hosts = sharers(gateway)
        for number, host in enumerate(hosts):
            lease = grant(gateway, host)
            assert (lease["ipv4"], lease["psid"], lease["psid_len"]) == (SHARED, host.psid, 4)
            gateway.start_client(host.space, SHARED, host.client6)
            host.use_ports(*SETS[host.psid])
            assert download(host.space, f"{from_host4}/file", tmp_path / f"got{number}") == content
        shown = gateway.control.call("bindings")["bindings"]
        assert [(row["psid"], row["client6"]) for row in shown] == [(1, CLIENT1), (2, CLIENT2)]
        one, two = hosts
        gateway.lessor.call("lease.release", timeout_s=20, ipv4=SHARED, psid=one.psid)
        with gateway.counting("DROP_SPOOF_PORT", 3):
            assert no_ping_of(one.space, HOST4, one.first)
        assert ping(two.space, HOST4, two.first) == 3
