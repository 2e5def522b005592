from __future__ import annotations

import asyncio
import contextlib
import socket

import pytest

from dstmrouter.daemon.answers import WAITING_MAX, Answers, open_datagrams
from lab.netns import PATIENCE_S


def test_what_comes_is_kept_in_order_and_no_more_than_there_is_room_for() -> None:
    async def scenario() -> None:
        answers = Answers()
        for number in range(WAITING_MAX + 10):
            answers.datagram_received(b"%d" % number, None)
        answers.error_received(ConnectionRefusedError())  # there is no room for it either
        found = [await answers.next() for _ in range(WAITING_MAX)]
        assert found == [b"%d" % number for number in range(WAITING_MAX)]
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(answers.next(), 0)

    asyncio.run(scenario())


def test_a_datagram_and_then_nobody_who_listens() -> None:
    async def scenario() -> None:
        with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as server:
            server.bind(("::1", 0))
            transport, answers = await open_datagrams("::1", server.getsockname()[1], None)
            with contextlib.closing(transport):
                server.sendto(b"hello", transport.get_extra_info("sockname"))
                assert await asyncio.wait_for(answers.next(), PATIENCE_S) == b"hello"
                server.close()
                transport.sendto(b"?")
                with pytest.raises(ConnectionRefusedError):
                    await asyncio.wait_for(answers.next(), PATIENCE_S)

    asyncio.run(scenario())
