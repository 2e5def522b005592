from __future__ import annotations

import pytest

from dstmrouter.dti.natrules import comment_of, ruleset, table_of, usable
from dstmrouter.dti.tunnel import Tunnel
from dstmrouter.errors import ConfigError
from dstmrouter.protocols.granted import PortSet
from tests.dti.conftest import CLIENT4, CLIENT6, TEP6

MANY = PortSet(psid_offset=6, psid_len=8, psid=0x34)  # RFC 7597 appendix A, example 1
ONE = PortSet(psid_offset=0, psid_len=6, psid=1)


def tunnel(name: str = "dti0") -> Tunnel:
    return Tunnel(client4=CLIENT4, client6=CLIENT6, tep6=TEP6, name=name)


def test_the_ranges_of_a_set() -> None:
    assert usable(ONE) == ["1024-2047"]
    assert len(usable(MANY)) == 63
    assert usable(MANY)[0] == "1232-1235"
    assert usable(PortSet(psid_offset=15, psid_len=1, psid=1))[:2] == ["3", "5"]


def test_port_0_is_nobodys() -> None:
    assert usable(PortSet(psid_offset=0, psid_len=15, psid=0)) == ["1"]
    assert usable(PortSet(psid_offset=0, psid_len=6, psid=0)) == ["1-1023"]
    with pytest.raises(ConfigError, match="port set 0/16/0: expected a port besides 0"):
        usable(PortSet(psid_offset=0, psid_len=16, psid=0))


def test_a_former_table_is_replaced_in_one_transaction() -> None:
    lines = ruleset(tunnel(), ONE, 30).splitlines()
    assert lines[:3] == [
        "add table ip dstm_dti0",
        "delete table ip dstm_dti0",
        "table ip dstm_dti0 {",
    ]
    assert f'  comment "{comment_of(tunnel(), ONE)}"' in lines
    assert "mod 1 map { 0 : 192.0.2.7 . 1024-2047 }" in ruleset(tunnel(), ONE, 30)


@pytest.mark.parametrize("name", ['a"b', "dti*", "dtí0", "a{", "$x", "a;b"])
def test_names_that_would_be_something_else_to_nft(name: str) -> None:
    with pytest.raises(ConfigError, match=r"dti-name .* for a shared address"):
        table_of(name)
