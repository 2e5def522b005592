"""Path MTUs as ICMP errors use and teach them (R17, R21, R22)."""

from __future__ import annotations

import struct

import numpy as np

from dstmrouter.binding import words6
from dstmrouter.pipeline.client_mtus import ClientMtus
from dstmrouter.pipeline.rules import TunnelRules
from tests import oracle
from tests.pipeline import worlds
from tests.pipeline.built import tables
from tests.pipeline.machine import Machine
from tests.pipeline.packets import ether, ipv4, ipv6

CLIENTS = words6([worlds.CLIENTS6[1], worlds.CLIENTS6[3], worlds.CLIENTS6[8]])


def test_the_tunnel_takes_its_headers_of_the_path() -> None:
    known = tables(worlds.world())
    for limit, overhead in ((None, 40), (4, 48)):
        rules = TunnelRules(tep6=(worlds.TEP6,), path_mtu=1492, encapsulation_limit=limit)
        mtus = ClientMtus(rules, known)
        mtus.learn(CLIENTS[:2], np.array([1400, 1499]), 7)
        assert mtus.tunnel_mtu(CLIENTS, 7).tolist() == [1400 - overhead] + [1492 - overhead] * 2
    assert mtus.known(CLIENTS).tolist() == [True, True, False]


def test_r21_r22_a_packet_too_big_is_learnt_from_and_the_next_packet_is_cut() -> None:
    router = Machine(worlds.world(), learns=True)
    big = ether(ipv4(payload=bytes(1400), fragment=0))
    (fate,) = router.run([big], worlds.INTERNET, worlds.NOW_S)
    assert fate.verdict == "ENCAPSULATED"
    assert fate.frame is not None
    message = struct.pack("!BBHI", 2, 0, 0, 1300) + fate.frame[14:1000]
    src, dst = worlds.CLIENTS6[9], worlds.TEP6
    pseudo = src.packed + dst.packed + struct.pack("!II", len(message), 58)
    message = message[:2] + struct.pack("!H", oracle.checksum(pseudo + message)) + message[4:]
    error = ether(ipv6(message, src, dst, next_header=58))
    (noted,) = router.run([error], worlds.ACCESS, worlds.NOW_S)
    assert noted.verdict == "DROP_ICMPV6_NOTED"
    others = ether(ipv4(dst=worlds.leased(3), payload=bytes(1400), fragment=0))
    found = router.run([big, others], worlds.INTERNET, worlds.NOW_S + 1)
    assert [fate.verdict for fate in found] == ["FRAGMENTED", "ENCAPSULATED"]
