from __future__ import annotations

import errno
import socket
from ipaddress import IPv4Address, IPv4Network, IPv6Address

import pytest

from dstmrouter.errors import SystemCallError
from dstmrouter.io import rtnetlink
from dstmrouter.io.kernelobjects import Part, RouteKind
from lab.netns import PATIENCE_S
from tests.netns.two_hosts import in_own_namespace, needs_root, run

pytestmark = [pytest.mark.netns, needs_root]


def test_a_dump_is_complete_and_of_its_part_only() -> None:
    async def main() -> None:
        run("ip link set lo up")
        for number in range(300):  # several datagrams
            run(f"ip route add 198.51.{100 + number // 250}.{number % 250}/32 dev lo")
        *messages, done = rtnetlink.dump(Part.ROUTES4)
        assert done["header"]["type"] == rtnetlink.NLMSG_DONE
        assert not any(m["header"]["flags"] & rtnetlink.NLM_F_DUMP_INTR for m in messages)
        hosts = {m.get_attr("RTA_DST") for m in messages if m["table"] == 254}
        assert len(hosts) == 300
        assert {m["family"] for m in messages} == {socket.AF_INET}
        *links, _ = rtnetlink.dump(Part.LINKS)
        assert [link.get_attr("IFLA_IFNAME") for link in links] == ["lo"]

    in_own_namespace(main)


def test_the_kernel_chooses_routes_of_one_kind() -> None:
    async def main() -> None:
        run("ip link set lo up")
        run("ip route add 198.51.100.0/24 dev lo")
        run("ip route add blackhole 203.0.113.0/24")
        run("ip route add unreachable 203.0.114.0/24")
        *found, _ = rtnetlink.dump_routes_of_kind(RouteKind.BLACKHOLE)
        assert [m.get_attr("RTA_DST") for m in found] == ["203.0.113.0"]

    in_own_namespace(main)


def test_a_refusal_says_what_was_tried_and_why() -> None:
    async def main() -> None:
        prefix = IPv4Network("203.0.113.0/24")
        with pytest.raises(SystemCallError) as caught:
            rtnetlink.remove_discard_route(prefix, 213)
        assert str(caught.value) == "remove blackhole 203.0.113.0/24: No such process"
        assert caught.value.errno == errno.ESRCH

    in_own_namespace(main)


def test_notices_arrive_on_the_socket() -> None:
    async def main() -> None:
        with rtnetlink.notice_socket() as notices:
            with pytest.raises(BlockingIOError):
                notices.recv(rtnetlink.RECEIVE_LEN)
            run("ip link set lo up")
            notices.settimeout(PATIENCE_S)
            first = next(rtnetlink.Decoder().messages(notices.recv(rtnetlink.RECEIVE_LEN)))
            assert first["header"]["type"] in (rtnetlink.RTM_NEWLINK, rtnetlink.RTM_NEWADDR)

    in_own_namespace(main)


@pytest.mark.parametrize("ip", [IPv4Address("192.0.2.2"), IPv6Address("2001:db8::2")])
def test_a_solicitation_names_link_and_address(ip: IPv4Address | IPv6Address) -> None:
    [message] = rtnetlink.Decoder().messages(rtnetlink.solicitation(7, ip))
    assert (message["ifindex"], message.get_attr("NDA_DST")) == (7, str(ip))
    assert message["flags"] == rtnetlink.NTF_USE
