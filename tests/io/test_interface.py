from __future__ import annotations

import socket

from dstmrouter.io.interface import interface_name


def test_an_interface_has_its_name_and_a_missing_one_its_number() -> None:
    assert interface_name(socket.if_nametoindex("lo")) == "lo"
    assert interface_name(2**31 - 1) == "interface 2147483647"
