from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from dstmrouter.errors import SystemCallError
from dstmrouter.io.xdpfeatures import (
    XdpFeature,
    XdpFeatures,
    driver,
    may_take_frames,
    xdp_features,
)
from tests.io.conftest import ip

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.io.conftest import Veth

pytestmark = [
    pytest.mark.netns,
    pytest.mark.skipif(os.geteuid() != 0, reason="network namespaces need root"),
]


def test_veth_takes_frames_as_long_as_its_peer_has_gro(veth: Callable[[str], Veth]) -> None:
    pair = veth("a")
    with XdpFeatures() as features:
        able = features.of(pair.ifindex)
        assert XdpFeature.BASIC in able
        assert XdpFeature.REDIRECT in able
        assert XdpFeature.NDO_XMIT not in able
        pair.take_frames("on")
        assert XdpFeature.NDO_XMIT in features.of(pair.ifindex)
        assert XdpFeature.NDO_XMIT in xdp_features(pair.near)
        pair.take_frames("off")
        assert features.of(pair.ifindex) == able


def test_veth_may_come_to_take_frames_whatever_its_peer_does_now(
    veth: Callable[[str], Veth],
) -> None:
    pair = veth("a")
    assert driver(pair.near) == "veth"
    assert may_take_frames(pair.near)
    assert driver("lo") == driver("nosuch") == ""
    assert not may_take_frames("lo")


@pytest.mark.usefixtures("netns")
def test_a_device_without_xdp_can_do_nothing() -> None:
    assert xdp_features("lo") == XdpFeature(0)
    assert xdp_features("nosuch") == XdpFeature(0)


def test_an_interface_that_is_gone_is_an_error(veth: Callable[[str], Veth]) -> None:
    pair = veth("a")
    ifindex = pair.ifindex
    ip(f"link del {pair.near}")
    with (
        XdpFeatures() as features,
        pytest.raises(SystemCallError, match=f"XDP features of interface {ifindex}: No such dev"),
    ):
        features.of(ifindex)


def test_close_twice() -> None:
    features = XdpFeatures()
    features.close()
    features.close()
    with pytest.raises(SystemCallError, match="Bad file descriptor"):
        features.of(1)
