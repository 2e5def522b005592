"""One connection of a ROUTER socket: where answers go, and whose key it showed."""

from __future__ import annotations

import dataclasses
from typing import Self

import zmq

from dstmrouter.errors import DecodeError


@dataclasses.dataclass(frozen=True, slots=True)
class Peer:
    """Where answers go, and the name of the peer's key where CURVE proved one."""

    envelope: tuple[bytes, ...]  # routing id; REQ sockets add an empty frame and expect it back
    user: str | None = None

    @classmethod
    def of(cls, frames: list[zmq.Frame]) -> Self:
        """Return the sender of a received message; DecodeError unless it has one content frame."""
        envelope = tuple(frame.bytes for frame in frames[:-1])
        if envelope[1:] not in {(), (b"",)}:
            raise DecodeError("expected one frame, or an empty one before it")
        return cls(envelope, _user(frames[-1]))

    def may_speak_for(self, name: str) -> bool:
        """Whether the peer may use `name` as its own: with CURVE, only the name of its key."""
        return self.user is None or self.user == name


def _user(frame: zmq.Frame) -> str | None:
    try:
        return str(frame.get("User-Id")) or None
    except zmq.ZMQError:  # a plain connection has none
        return None
