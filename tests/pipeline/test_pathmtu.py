from __future__ import annotations

from ipaddress import IPv6Address

import numpy as np
import pytest

from dstmrouter.binding import words6
from dstmrouter.pipeline.pathmtu import FixedMtu
from dstmrouter.pipeline.rules import TunnelRules
from tests.pipeline import worlds

CLIENTS6 = words6([IPv6Address("2001:db8::1"), IPv6Address("2001:db8::2")])


@pytest.mark.parametrize(("path", "tunnel"), [(1500, 1460), (1280, 1240)])
def test_r17_the_tunnel_takes_40_octets_of_the_path(path: int, tunnel: int) -> None:
    mtus = FixedMtu(TunnelRules(tep6=(worlds.TEP6,), path_mtu=path))
    assert mtus.tunnel_mtu(CLIENTS6).tolist() == [tunnel, tunnel]


def test_a_fixed_mtu_learns_nothing() -> None:
    mtus = FixedMtu(TunnelRules(tep6=(worlds.TEP6,)))
    mtus.learn(CLIENTS6, np.array([1280, 1300]), 5)
    assert mtus.tunnel_mtu(CLIENTS6).tolist() == [1460, 1460]
    assert not mtus.known(CLIENTS6).any()
