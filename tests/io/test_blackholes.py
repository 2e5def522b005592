from __future__ import annotations

import errno
import subprocess
from ipaddress import IPv4Network

import pytest

from dstmrouter.errors import SystemCallError
from dstmrouter.io.blackholes import PROTOCOL, add_blackhole, remove_blackhole
from tests.netns.two_hosts import in_own_namespace, needs_root, run

pytestmark = [pytest.mark.netns, needs_root]

POOL = IPv4Network("203.0.113.0/24")


def shown() -> list[str]:
    return run("ip route show table main").splitlines()


def test_added_once_kept_and_removed_once() -> None:
    async def main() -> None:
        assert add_blackhole(POOL)
        assert not add_blackhole(POOL)
        assert [line.split() for line in shown()] == [
            ["blackhole", str(POOL), "proto", str(PROTOCOL)]
        ]
        assert remove_blackhole(POOL)
        assert not remove_blackhole(POOL)
        assert shown() == []

    in_own_namespace(main)


@pytest.mark.parametrize("kind", ["blackhole", "unreachable", "prohibit"])
def test_a_discard_route_of_the_operator_is_kept(kind: str) -> None:
    async def main() -> None:
        run(f"ip route add {kind} {POOL}")
        assert not add_blackhole(POOL)
        assert not remove_blackhole(POOL)
        assert [line.split()[:2] for line in shown()] == [[kind, str(POOL)]]

    in_own_namespace(main)


def test_a_route_that_leads_elsewhere_is_an_error() -> None:
    async def main() -> None:
        run("ip link set lo up")
        run(f"ip route add {POOL} dev lo")
        run("ip route add blackhole 203.0.0.0/16")
        run(f"ip route add blackhole {POOL} metric 9")
        with pytest.raises(SystemCallError, match=r"203\.0\.113\.0/24: File exists") as caught:
            add_blackhole(POOL)
        assert caught.value.errno == errno.EEXIST

    in_own_namespace(main)


def test_the_kernel_discards_and_more_specific_routes_win() -> None:
    async def main() -> None:
        run("ip link set lo up")
        add_blackhole(POOL)
        run("ip route add 203.0.113.7/32 dev lo")
        assert "dev lo" in run("ip route get 203.0.113.7")
        with pytest.raises(subprocess.CalledProcessError) as caught:
            run("ip route get 203.0.113.8")
        assert "Invalid argument" in caught.value.stderr  # EINVAL is what a blackhole answers

    in_own_namespace(main)
