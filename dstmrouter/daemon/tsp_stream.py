"""One TSP dialogue over a connection: octets between the connection and its session."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

from dstmrouter.daemon.stream_connection import PeerDroppedError
from dstmrouter.protocols.tsp_state import Ending
from dstmrouter.protocols.tsp_status import Status
from dstmrouter.protocols.tsp_xml import CLOSING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from dstmrouter.daemon.stream_connection import Connection
    from dstmrouter.daemon.tsp_desk import Desk
    from dstmrouter.protocols.tsp_session import Chunk, Session
    from dstmrouter.protocols.tsp_xml import Tunnel


async def converse(
    connection: Connection, session: Session, desk: Desk, may_ask: Callable[[], bool]
) -> None:
    """Carry on until one side ends it; OSError when the connection breaks.

    `may_ask` is asked before each request that costs something.
    """
    try:
        while not session.closed:
            request = session.next_event(time.monotonic())
            if request is not None:
                await _carry_out(request, session, desk, may_ask)
            if chunks := session.chunks():
                await _send(connection, session, chunks)
            if request is None and not session.closed and not await _receive(connection, session):
                return
        await _send(connection, session, session.chunks())  # why it ended
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


async def _receive(connection: Connection, session: Session) -> bool:
    """Wait for octets, but not longer than the session does; False: the client has gone."""
    connection.deadline = session.deadline
    try:
        data = await connection.receive(session.room)
    except PeerDroppedError:
        session.expire(time.monotonic())
        return True
    session.receive_data(data)
    return bool(data)


async def _send(connection: Connection, session: Session, chunks: Iterable[Chunk]) -> None:
    for chunk in chunks:
        if chunk.delay_s:
            await asyncio.sleep(chunk.delay_s)
        try:
            await connection.send(chunk.data)
        except PeerDroppedError:
            session.close(Ending.TIMED_OUT, "answers are not read")
            return
