"""Packet filters of a real router: what they drop on the way in and on the way out."""

from __future__ import annotations

import pytest

from lab.topology import CLIENT1, FAR4, HOST4, PORT4, PORT6
from tests.netns.conftest import LENT1
from tests.netns.echoes import Form
from tests.netns.gateway import Gateway, no_ping, pings

pytestmark = pytest.mark.netns

FILTERS = {
    f'interface = "{PORT6}"': f'interface = "{PORT6}"\nfilter_out = "not ip6[41] = 4"',  # inner TOS
    f'interface = "{PORT4}"': f'interface = "{PORT4}"\nfilter_in = "not src host {FAR4}"',
}


@pytest.mark.parametrize("mode", ["auto", "packet_mmap"])
def test_filters_of_both_ports(mode: str) -> None:
    with Gateway(mode=mode, changes=FILTERS) as gateway:
        gateway.start_router()
        gateway.bind(LENT1, CLIENT1)
        client, host4 = gateway.topology.client1, gateway.topology.host4
        gateway.start_client(client, LENT1, CLIENT1)
        assert pings(client, HOST4) == 5
        with gateway.counting("DROP_FILTER_IN", 5):
            assert no_ping(client, FAR4)
        with gateway.counting("DROP_FILTER_OUT", 5), gateway.counting("DROP_FILTER_IN", 0):
            assert no_ping(host4, LENT1, form=Form(tos=4))
        assert pings(host4, LENT1) == 5
        [told] = [port for port in gateway.control.call("ports")["ports"] if port["filter_in"]]
        assert (told["name"], told["filter_in"]) == (PORT4, f"not src host {FAR4}")


def test_wrong_filter_is_one_line_and_exit_code_2() -> None:
    wrong = {f'interface = "{PORT4}"': f'interface = "{PORT4}"\nfilter_in = "udp prot 5"'}
    with Gateway(changes=wrong) as gateway:
        code, said = gateway.run_router(gateway.router_toml)
        assert code == 2
        [line] = said.splitlines()
        where = f"{gateway.router_toml}: [[port]] #2 filter_in"
        assert line.startswith(f"{where}: filter 'udp prot 5': ")
