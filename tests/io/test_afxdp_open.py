"""Opening AF_XDP sockets: modes, ownership of queues, errors."""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING

import pytest

from dstmrouter.errors import DstmError, SystemCallError
from dstmrouter.io.afxdp import XskConfig, XskMode, XskSocket, open_sockets
from dstmrouter.io.umem import Umem

if TYPE_CHECKING:
    from collections.abc import Iterator

    from dstmrouter.io.port import Port
    from tests.io.conftest import Veth

pytestmark = [
    pytest.mark.netns,
    pytest.mark.skipif(os.geteuid() != 0, reason="AF_XDP needs root"),
]
SMALL = XskConfig(fill_slots=64, rx_slots=64, tx_slots=64, completion_slots=64)
NATIVE = XskMode.NATIVE_COPY


@contextlib.contextmanager
def both(pairs: list[Veth], *configs: XskConfig) -> Iterator[list[XskSocket]]:
    """Sockets at the near ends, over one UMEM."""
    ports = open_sockets([pair.near for pair in pairs], 0, Umem(64), configs)
    with contextlib.ExitStack() as undo:
        for port in ports:
            undo.enter_context(port)
        yield ports


def test_auto_takes_the_copy_mode_of_veth_and_says_why(pairs: list[Veth]) -> None:
    with both(pairs, XskConfig(), XskConfig()) as ports:
        assert [port.mode_taken for port in ports] == [NATIVE, NATIVE]
        refusal = f"bind({pairs[0].near} queue 0, native-zerocopy): Operation not supported"
        assert ports[0].mode_notes == [refusal]
    with XskSocket.open(pairs[1].far, 0, Umem(64), XskConfig()) as alone:
        assert alone.mode_taken is NATIVE
        assert alone.mode_notes == [refusal.replace(pairs[0].near, pairs[1].far)]


def test_a_mode_that_is_asked_for_is_not_replaced(pairs: list[Veth]) -> None:
    config = XskConfig(mode=XskMode.NATIVE_ZEROCOPY)
    with pytest.raises(SystemCallError, match=r"native-zerocopy.*: Operation not supported"):
        XskSocket.open(pairs[0].near, 0, Umem(64), config)
    with (
        XskSocket.open(pairs[0].near, 0, umem := Umem(64), SMALL) as first,
        pytest.raises(DstmError, match="bn queue 0: native-zerocopy cannot share a UMEM with an"),
    ):
        XskSocket.open(pairs[1].near, 0, umem, config, first)


def test_auto_follows_the_fixed_mode_of_another_port(pairs: list[Veth]) -> None:
    with both(pairs, XskConfig(), XskConfig(mode=XskMode.GENERIC)) as ports:
        assert [port.mode_taken for port in ports] == [NATIVE, XskMode.GENERIC]
        assert ports[0].mode_notes == []


def test_errors_name_interface_queue_and_reason(pairs: list[Veth]) -> None:
    with pytest.raises(SystemCallError, match="find interface nosuch: no interface with this name"):
        XskSocket.open("nosuch", 0, Umem(64), SMALL)
    with pytest.raises(SystemCallError, match=r"bind\(an queue 99, native-copy\): Invalid arg"):
        XskSocket.open(pairs[0].near, 99, Umem(64), SMALL)


def test_a_queue_has_one_owner_and_is_free_after_close(pairs: list[Veth]) -> None:
    first = XskSocket.open(pairs[0].near, 0, Umem(64), SMALL)
    with pytest.raises(SystemCallError, match=r"bind\(an queue 0, native-copy\): Device or"):
        XskSocket.open(pairs[0].near, 0, Umem(64), SMALL)
    first.close()
    first.close()
    assert first.fileno() == -1
    XskSocket.open(pairs[0].near, 0, Umem(64), SMALL).close()


def test_a_failed_second_port_leaves_the_first_free(pairs: list[Veth]) -> None:
    with pytest.raises(SystemCallError, match="find interface nosuch"):
        open_sockets([pairs[0].near, "nosuch"], 0, Umem(64), [SMALL, SMALL])
    XskSocket.open(pairs[0].near, 0, Umem(64), SMALL).close()


def test_a_socket_is_a_port(pairs: list[Veth]) -> None:
    with XskSocket.open(pairs[0].near, 0, Umem(64), SMALL) as sock:
        port: Port = sock
        assert port.name == pairs[0].near
