"""One TSP dialogue over a byte stream: octets between the connection and its session."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Final

from dstmrouter.protocols.tsp_state import Ending
from dstmrouter.protocols.tsp_status import Status
from dstmrouter.protocols.tsp_xml import CLOSING

if TYPE_CHECKING:
    from collections.abc import Callable

    from dstmrouter.daemon.tsp_desk import Desk
    from dstmrouter.protocols.tsp_session import Session
    from dstmrouter.protocols.tsp_xml import Tunnel

WRITE_S: Final = 10.0
"""How long a client may leave our answers unread."""


async def converse(
    reader: asyncio.StreamReader,
    writer: asyncio.StreamWriter,
    session: Session,
    desk: Desk,
    may_ask: Callable[[], bool],
) -> None:
    """Carry on until one side ends it; OSError when the connection breaks.

    `may_ask` is asked before each request that costs something.
    """
    try:
        while not session.closed:
            request = session.next_event(time.monotonic())
            if request is not None:
                await _carry_out(request, session, desk, may_ask)
            await _write(writer, session)
            if request is None and not session.closed:
                await _read(reader, session)
        await _write(writer, session)  # why it ended
    finally:
        if session.ending is not Ending.SHUT_DOWN:
            await desk.leave()


async def _carry_out(
    request: Tunnel, session: Session, desk: Desk, may_ask: Callable[[], bool]
) -> None:
    """Let the desk do it; accept and reject are free, as each belongs to a create."""
    if request.action not in CLOSING and not may_ask():
        session.refuse(Status.BUSY, until=session.grace(time.monotonic()))
    else:
        await desk.carry_out(session, request)


async def _read(reader: asyncio.StreamReader, session: Session) -> None:
    """Wait for octets, but not longer than the session does."""
    try:
        async with asyncio.timeout_at(session.deadline):  # the loop's clock is the monotonic one
            data = await reader.read(session.room)
    except TimeoutError:
        session.expire(time.monotonic())
        return
    if not data:
        raise ConnectionResetError("closed by the client")
    session.receive_data(data)


async def _write(writer: asyncio.StreamWriter, session: Session) -> None:
    for chunk in session.chunks():
        if chunk.delay_s:
            await asyncio.sleep(chunk.delay_s)
        writer.write(chunk.data)
        try:
            async with asyncio.timeout(WRITE_S):
                await writer.drain()
        except TimeoutError:
            session.close(Ending.TIMED_OUT, "answers are not read")
            return
