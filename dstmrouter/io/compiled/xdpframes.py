"""The flush of a port that sends XDP frames, compiled; `xdpport` defines it.

Of 85 us that a turn with 330 packets takes over veth, 5 were Python's around this one system call.
"""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING, Final

import numpy as np

from dstmrouter.io.bpf import SYS_BPF
from dstmrouter.io.ring import U32_MASK
from dstmrouter.io.uapi import XDP_RING_NEED_WAKEUP, BpfCommand
from dstmrouter.io.xdpport import STATE
from dstmrouter.jit.functions import NONE, ONE, Truth, U, address, compiled, field_at
from dstmrouter.jit.kernel import ERRORS, monotonic_ns, system_call
from dstmrouter.jit.pointers import load32, load64, observe32, store32, store64

if TYPE_CHECKING:
    import numpy.typing as npt

    from dstmrouter.io.ring import ProducerRing
    from dstmrouter.io.xdpframes import SendPlace
    from dstmrouter.io.xdpport import Pacing

SENDING: Final = np.dtype(
    [
        (name, "<u8")
        for name in (
            "produced",  # addresses of the indices of the TX ring and of the completion ring
            "consumed",
            "done_produced",
            "done_consumed",
            "done_slots",
            "fill_flags",  # address
            "attributes",  # of the system call: `RunPlace`
            "length",
            "count",
            "line_at",  # `SendPlace`
            "line",
            "ifindex_at",
            "ifindex",
            "state",  # address of a record STATE
            "enough",  # `Pacing`, in packets and nanoseconds
            "spacing",
            "patience",
            "lots",
            "keep_every",
        )
    ]
)
(
    _PRODUCED,
    _CONSUMED,
    _DONE_PRODUCED,
    _DONE_CONSUMED,
    _DONE_SLOTS,
    _FILL_FLAGS,
    _ATTRIBUTES,
    _LENGTH,
    _COUNT,
    _LINE_AT,
    _LINE,
    _IFINDEX_AT,
    _IFINDEX,
    _STATE,
    _ENOUGH,
    _SPACING,
    _PATIENCE,
    _LOTS,
    _KEEP_EVERY,
) = (field_at(SENDING, name) for name in SENDING.names or ())
_HELD, _IN_VAIN, _NEXT_CALL, _LOOK_AT, _TAKES, _IN_SOCKET, _SENT, _FAILED, _CALLS = (
    field_at(STATE, name) for name in STATE.names or ()
)
_MODULO, _WAKEUP = U(U32_MASK), U(XDP_RING_NEED_WAKEUP)
_BPF, _RUN = U(SYS_BPF), U(BpfCommand.PROG_TEST_RUN)
_ERRORS, _INTERRUPTED = U(ERRORS), U((1 << 64) - errno.EINTR)


@compiled
def send(sending: np.uint64, state: np.uint64, waiting: np.uint64) -> None:
    """Send the packets that wait, as many as the completion ring has room for."""
    done = load32(load64(sending + _DONE_PRODUCED)) - load32(load64(sending + _DONE_CONSUMED))
    count = min(waiting, load64(sending + _DONE_SLOTS) - (done & _MODULO))
    if count == NONE:
        return
    store32(load64(sending + _LINE_AT), load64(sending + _LINE))
    store32(load64(sending + _IFINDEX_AT), load64(sending + _IFINDEX))
    store32(load64(sending + _COUNT), count)
    consumed_at = load64(sending + _CONSUMED)
    before = load32(consumed_at)
    attributes, length = load64(sending + _ATTRIBUTES), load64(sending + _LENGTH)
    store64(state + _NEXT_CALL, monotonic_ns() + load64(sending + _SPACING))
    store64(state + _CALLS, load64(state + _CALLS) + ONE)
    result = system_call(_BPF, _RUN, attributes, length)
    if result >= _ERRORS and result != _INTERRUPTED:
        store64(state + _FAILED, load64(state + _FAILED) + ONE)
        store64(state + _TAKES, NONE)
    sent = observe32(consumed_at) - before & _MODULO
    store64(state + _SENT, load64(state + _SENT) + sent)


@compiled
def holds(sending: np.uint64, state: np.uint64, waiting: np.uint64, now: np.uint64) -> Truth:
    """Whether packets are to wait for those that keep coming; if not, nothing is noted."""
    in_vain = NONE if waiting > load64(state + _HELD) else load64(state + _IN_VAIN) + ONE
    worth_it = waiting < load64(sending + _LOTS) and in_vain < load64(sending + _PATIENCE)
    waits = worth_it and now < load64(state + _NEXT_CALL)
    if waits:
        store64(state + _HELD, waiting)
        store64(state + _IN_VAIN, in_vain)
    return waits


@compiled
def has_more_to_do(sending: np.uint64, state: np.uint64) -> Truth:
    """Whether there is a page pool to keep, or something to do for the socket."""
    keep = load64(state + _CALLS) >= load64(sending + _KEEP_EVERY)
    wake = load32(load64(sending + _FILL_FLAGS)) & _WAKEUP
    return keep or wake != NONE or load64(state + _IN_SOCKET) != NONE


@compiled
def flush_line(sending: np.uint64) -> Truth:
    """Do what is to be done for the record SENDING there.

    False, and nothing is done, if it is more than frames to send or to let wait.
    """
    state = load64(sending + _STATE)
    if has_more_to_do(sending, state):
        return False
    produced, consumed = load64(sending + _PRODUCED), load64(sending + _CONSUMED)
    waiting = load32(produced) - load32(consumed) & _MODULO
    if waiting == NONE:
        return True
    now = monotonic_ns()
    if holds(sending, state, waiting, now):
        return True
    if waiting < load64(sending + _ENOUGH) or now >= load64(state + _LOOK_AT):
        return False
    if load64(state + _TAKES) == NONE:
        return False
    store64(state + _HELD, NONE)
    send(sending, state, waiting)
    return True


@compiled
def flush(place: int) -> bool:
    """As `flush_line`, for Python."""
    return bool(flush_line(U(place)))


class CompiledFlush:
    """`flush` of one port; rings, sender and `state` (a record STATE) must outlive it."""

    def __init__(
        self,
        place: SendPlace,
        rings: tuple[ProducerRing, ProducerRing, ProducerRing],
        state: npt.NDArray[np.void],
        pacing: Pacing,
        ifindex: int,
    ) -> None:
        """`rings` are the TX ring, the completion ring and the fill ring."""
        (tx, done), fill = (ring.place() for ring in rings[:2]), rings[2]
        indices = tx.producer, tx.consumer, done.producer, done.consumer, done.slots
        run, *line = place
        pace = pacing.enough, pacing.spacing_ns, pacing.patience, pacing.lots, pacing.keep_every
        words = *indices, fill.flags_at(), *run, *line, ifindex, int(address(state)), *pace
        self._record = np.array([words], SENDING)
        self._kept = state
        self.place = int(address(self._record))  # for `flush_line`
        self._load()

    def __call__(self) -> bool:
        """Whether there is nothing left to do."""
        return flush(self.place)

    @staticmethod
    def _load() -> None:
        """Load the code, with a port of nobody's: this one may be in use meanwhile."""
        state, record = np.zeros(1, STATE), np.zeros(1, SENDING)
        state["in_socket"] = 1
        record["state"] = address(state)
        flush(int(address(record)))
