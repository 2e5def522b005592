"""One TSP dialogue over a byte stream: octets between the connection and its session."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Final

from dstmrouter.protocols.tsp_state import Ending, State

if TYPE_CHECKING:
    from dstmrouter.daemon.tsp_desk import Desk
    from dstmrouter.protocols.tsp_session import Session

WRITE_S: Final = 10.0
"""How long a client may leave our answers unread."""


async def converse(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, session: Session, desk: Desk
) -> None:
    """Carry on until one side ends it; OSError when the connection breaks."""
    try:
        while session.state is not State.CLOSED:
            await _next_step(reader, writer, session, desk)
        await _write(writer, session)  # why it ended
    finally:
        if session.ending is not Ending.SHUT_DOWN:
            await desk.leave()


async def _next_step(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, session: Session, desk: Desk
) -> None:
    request = session.next_event(time.monotonic())
    if request is not None:
        await desk.carry_out(session, request)
    await _write(writer, session)
    if request is None and session.state is not State.CLOSED:
        await _read(reader, session)


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
