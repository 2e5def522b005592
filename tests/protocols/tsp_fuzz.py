"""Feed sessions with nonsense: `python -m tests.protocols.tsp_fuzz 1000000` runs so many inputs.

Whatever comes, the session raises nothing, keeps a bounded buffer, and when it ends says why.
"""

from __future__ import annotations

import random
import sys
import time
from typing import TYPE_CHECKING, Final

from dstmrouter.protocols.tsp_session import Session, SessionTerms
from dstmrouter.protocols.tsp_state import State
from dstmrouter.protocols.tsp_xml import Action
from tests.protocols.tsp_samples import (
    ACCEPT,
    ALL,
    CREATE,
    DELETE,
    GIVEN,
    QUERY,
    REJECT,
    attempts,
    framed,
)

if TYPE_CHECKING:
    from collections.abc import Iterable

PIECES: Final = (
    b"VERSION=2.0.0\r\n",
    b"AUTHENTICATE ANONYMOUS\r\n\0",
    b"AUTHENTICATE PLAIN\r\n",
    b"AUTHENTICATE DIGEST-MD5\r\n",
    b"AUTHENTICATE SCRAM-SHA-256\r\n",
    b"\0ann\0pencil\r\n",
    b"biwsbj1hbm4scj1j\r\n",
    b"Content-length: 40\r\n",
    *(framed(body) for body in (CREATE, ACCEPT, REJECT, DELETE, QUERY)),
)
HELLO: Final = PIECES[:2]
SHOW_EVERY: Final = 100_000


def feed(server: Session, octets: Iterable[bytes]) -> None:
    """Play the client, who says `octets`, and the owner of the leases, who grants everything."""
    for number, piece in enumerate(octets):
        server.receive_data(piece[: server.room])
        while server.state is not State.CLOSED:
            tunnel = server.next_event(float(number))
            if tunnel is None:
                break
            if tunnel.action is Action.CREATE:
                server.offer(GIVEN, float(number))
            else:
                server.answer(None, until=99.0)
    assert (server.state is State.CLOSED) == (server.ending is not None)


def fresh() -> Session:
    return Session(SessionTerms(), attempts(*ALL), now=0.0)


def nonsense(chance: random.Random) -> list[bytes]:
    """Pieces of dialogues, some of them damaged."""
    if chance.random() < 0.7:
        pieces = [*HELLO, *(chance.choice(PIECES[7:]) for _ in range(chance.randrange(1, 6)))]
    else:
        pieces = [chance.choice(PIECES) for _ in range(chance.randrange(1, 8))]
    return [damaged(piece, chance) if chance.random() < 0.1 else piece for piece in pieces]


def damaged(piece: bytes, chance: random.Random) -> bytes:
    """A piece with octets changed, lost, put in or doubled."""
    octets = bytearray(piece)
    for _ in range(chance.randrange(1, 4)):
        at = chance.randrange(len(octets) + 1)
        match chance.randrange(4):
            case 0:
                octets[at : at + 1] = bytes([chance.randrange(256)])
            case 1:
                del octets[at : at + chance.randrange(1, 9)]
            case 2:
                octets[at:at] = chance.randbytes(chance.randrange(1, 9))
            case _:
                octets[at:at] = octets[at : at + 30]
    return bytes(octets)


def run(inputs: int, seed: int) -> dict[str, int]:
    """Feed so many sessions; how often they ended in which way."""
    chance = random.Random(seed)
    endings: dict[str, int] = {}
    for number in range(1, inputs + 1):
        server = fresh()
        feed(server, nonsense(chance))
        name = server.ending.name if server.ending is not None else server.state.name
        endings[name] = endings.get(name, 0) + 1
        if number % SHOW_EVERY == 0:
            print(f"{number:,} inputs: {endings}", flush=True)
    return endings


def main() -> None:
    """Run as many inputs as the command line says, from a seed that is shown."""
    inputs = int(sys.argv[1]) if len(sys.argv) > 1 else SHOW_EVERY
    seed = int(sys.argv[2]) if len(sys.argv) > 2 else time.time_ns()
    print(f"seed {seed}")
    print(run(inputs, seed))


if __name__ == "__main__":
    main()
