"""What two other gateways get wrong, as far as only a running router shows it.

See tests/pipeline/test_shortcomings.py.
"""

from __future__ import annotations

import re
from ipaddress import IPv4Address, IPv6Address
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np
import pytest

from dstmrouter.binding import LIFETIME_FOREVER, full_address_columns
from lab.topology import CLIENT1, HOST4, POOL, ROUTER4, ROUTER6, TEP6
from tests.netns.gateway import Gateway, pings

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.netns
LENT: Final = "203.0.113.1"
BINDINGS: Final = 100_000
MANY: Final = "10.64.0.0/15"
MEMORY_MB: Final = 400  # of router and worker together; the other one takes 740 for fragments alone
PAGE: Final = 1000


@pytest.fixture(scope="module")
def gateway() -> Iterator[Gateway]:
    pools = f'prefix = "{POOL}"\n\n[[pool]]\nprefix = "{MANY}"'
    with Gateway(changes={f'prefix = "{POOL}"': pools}) as made:
        made.start_router()
        made.bind(LENT, CLIENT1)
        made.start_client(made.topology.client1, LENT, CLIENT1)
        yield made


def test_vpp_10_a_hundred_thousand_bindings_are_listed(gateway: Gateway) -> None:
    first = int(IPv4Address(MANY.partition("/")[0]))
    numbers = np.arange(first, first + BINDINGS, dtype=np.uint32)
    wide = numbers.astype(np.uint64)
    clients = np.stack([wide << np.uint64(8) | np.uint64(0x20), wide], axis=1)  # 20xx::
    columns = full_address_columns(
        numbers, clients, lifetime_s=LIFETIME_FOREVER, tep6=(IPv6Address(TEP6),)
    )
    with gateway.pusher() as pusher:
        assert pusher.put(columns).applied == BINDINGS
    listed: set[str] = set()
    for offset in range(0, BINDINGS + 1, PAGE):
        page = gateway.control.call("bindings", offset=offset, limit=PAGE)
        assert page["total"] == BINDINGS + 1
        listed |= {row["ipv4"] for row in page["bindings"]}
    assert len(listed) == BINDINGS + 1
    assert pings(gateway.topology.client1, HOST4) == 5


def test_snabb_3_no_huge_pages_and_little_memory(gateway: Gateway) -> None:
    assert gateway.router is not None
    used = 0
    for pid in (gateway.router.pid, *gateway.pids().values()):
        status = Path(f"/proc/{pid}/status").read_text()
        lines = re.findall(r"^(\w+):\s+(\d+) kB", status, re.MULTILINE)
        found = {name: int(size) for name, size in lines}
        assert found["HugetlbPages"] == 0
        used += found["VmRSS"]
    assert used / 1024 < MEMORY_MB


def test_snabb_4_arp_nd_and_the_nic_stay_the_kernels(gateway: Gateway) -> None:
    lab = gateway.topology
    lab.host4.ip("neigh", "flush", "dev", "eth0")
    lab.client1.ip("-6", "neigh", "flush", "dev", "eth0")
    assert pings(lab.host4, ROUTER4) == 5
    assert pings(lab.client1, ROUTER6) == 5
    assert pings(lab.router, HOST4) == 5
    assert pings(lab.client1, HOST4) == 5


def test_snabb_5_xdp_mode_works(gateway: Gateway) -> None:
    ports = gateway.control.call("ports")["ports"]
    assert {queue["mode"] for port in ports for queue in port["queues"]} == {"native-copy"}
    assert pings(gateway.topology.client1, HOST4) == 5
