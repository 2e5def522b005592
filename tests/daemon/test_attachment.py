from __future__ import annotations

import contextlib
import os
from ipaddress import IPv4Network, IPv6Address
from typing import TYPE_CHECKING

import pytest

from dstmrouter.config.router import PortConfig
from dstmrouter.daemon.attachment import Attachment, claim, receive_queues
from dstmrouter.errors import DstmError
from dstmrouter.io.steering import SteeringMaps, XskMap, attach_xdp, load_xdp
from lab.netns import Lab, Namespace, veth

if TYPE_CHECKING:
    from collections.abc import Iterator

    from dstmrouter.config.router import PortMode

pytestmark = pytest.mark.netns
TEP6, POOLS = [IPv6Address("2001:db8:f::1")], [IPv4Network("203.0.113.0/24")]


@pytest.fixture
def space() -> Iterator[Namespace]:
    """This process is in a namespace with an interface `near` of two queues."""
    with Lab() as lab:
        near, far = lab.namespace("near"), lab.namespace("far")
        veth((near, "near"), (far, "far"), queues=2)
        with near.entered():
            yield near


@pytest.fixture
def attachment(space: Namespace) -> Iterator[Attachment]:  # noqa: ARG001 the namespace first
    with contextlib.closing(Attachment(TEP6, POOLS)) as made:
        yield made


@pytest.mark.parametrize("mode", ["auto", "native-copy", "generic"])
def test_xdp_program_comes_and_goes(
    space: Namespace, attachment: Attachment, mode: PortMode
) -> None:
    plan = attachment.attach(0, PortConfig(interface="near", mode=mode), 2)
    assert (plan.mode, plan.filter_fd, plan.fanout_group) == (mode, None, None)
    assert plan.xskmap_fd is not None
    assert os.fstat(plan.xskmap_fd)
    shown = space.ip("-d", "link", "show", "near")
    assert ("xdpgeneric" if mode == "generic" else "prog/xdp") in shown
    attachment.close()
    attachment.close()
    assert "xdp" not in space.ip("-d", "link", "show", "near")
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(plan.xskmap_fd)


@pytest.mark.parametrize(("workers", "shared"), [(1, False), (2, True)])
def test_packet_mmap_shares_an_interface_by_fanout(
    space: Namespace, attachment: Attachment, workers: int, shared: bool
) -> None:
    plan = attachment.attach(3, PortConfig(interface="near", mode="packet_mmap"), workers)
    assert (plan.mode, plan.xskmap_fd) == ("packet_mmap", None)
    assert plan.filter_fd is not None
    assert (plan.fanout_group is not None) == shared
    assert "xdp" not in space.ip("-d", "link", "show", "near")


@pytest.mark.parametrize("mode", ["auto", "native-copy"])
def test_somebody_elses_xdp_program_stays(
    space: Namespace, attachment: Attachment, mode: PortMode
) -> None:
    with contextlib.ExitStack() as undo:
        maps = undo.enter_context(SteeringMaps())
        xskmap = undo.enter_context(XskMap.create())
        program = undo.enter_context(load_xdp(maps, xskmap, None))
        ifindex = int(space.run("cat", "/sys/class/net/near/ifindex"))
        undo.enter_context(attach_xdp(ifindex, program))
        before = space.ip("-d", "link", "show", "near")
        port = PortConfig(interface="near", mode=mode)
        if mode == "auto":
            assert attachment.attach(0, port, 1).mode == "packet_mmap"
        else:
            with pytest.raises(DstmError, match="attach XDP program to near"):
                attachment.attach(0, port, 1)
        assert space.ip("-d", "link", "show", "near") == before


def test_interface_belongs_to_one_router() -> None:
    with (
        claim("near"),
        claim("far"),
        pytest.raises(DstmError, match=r"^port near: another dstm-router has it$"),
    ):
        claim("near")
    claim("near").close()


def test_interface_must_exist(attachment: Attachment) -> None:
    with pytest.raises(DstmError, match=r"^port nowhere: there is no such interface$"):
        attachment.attach(0, PortConfig(interface="nowhere"), 1)


def test_unknown_interface_counts_as_one_queue() -> None:
    assert receive_queues("nowhere") == 1
    assert receive_queues("lo") == 1
