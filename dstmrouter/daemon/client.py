"""The client process: make the interface, carry packets until told to stop, leave nothing behind.

Order: claim the name, look at the host, plan, do. The claim's file says what is about to be made
before it is made, so a client killed at any point is cleaned up after by the next one.
"""

from __future__ import annotations

import dataclasses
import os
import select
import signal
import socket
from contextlib import ExitStack, closing, contextmanager
from typing import TYPE_CHECKING, Any, Final

import structlog

from dstmrouter.daemon.client_status import boottime, read_status, status_file
from dstmrouter.daemon.dti_link import bring_up, former_ends, make_plan, remove
from dstmrouter.dti import killswitch
from dstmrouter.dti.carrier import Carrier
from dstmrouter.dti.counters import Counters, read_counters
from dstmrouter.dti.host import Host
from dstmrouter.dti.natrules import table_of
from dstmrouter.dti.pump import Pump
from dstmrouter.dti.state import Claim, read_state, this_netns
from dstmrouter.dti.tunnel import Kind, Tunnel
from dstmrouter.errors import DstmError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

log = structlog.get_logger()

STOP_SIGNALS: Final = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
STOP_WITHIN_S: Final = 10.0


def run(tunnel: Tunnel, kinds: Sequence[Kind], run_dir: Path) -> None:
    """Be the client until SIGTERM, SIGINT or SIGHUP; raises DstmError if it cannot start."""
    with ExitStack() as undo:
        stop = undo.enter_context(_stop_signals())
        claim = Claim(run_dir, tunnel.name)
        undo.callback(claim.release)
        host = undo.enter_context(closing(Host()))
        former = former_ends(claim)
        undo.callback(remove, host, tunnel.name, former)
        kind = bring_up(host, tunnel, kinds, claim)
        if kind is Kind.TUN:
            _carry(host, tunnel, claim, stop)
        else:
            log.info("up", interface=tunnel.name, backend=str(kind))
            select.select([stop], [], [])
            _log_end(tunnel.name, host.octets(tunnel.name))


def rehearse(tunnel: Tunnel, kinds: Sequence[Kind], run_dir: Path) -> list[str]:
    """Tell what `run` would do first, one line a step; raises DstmError if it would refuse."""
    state, alive = read_state(run_dir, tunnel.name)
    if alive:
        raise DstmError(f"{tunnel.name} is in use by another dstm-client")
    former = state.ends if state is not None and state.netns == this_netns() else None
    with closing(Host()) as host:
        steps = [str(step) for step in make_plan(host, tunnel, kinds[0], former)]
    if tunnel.port_set is not None:
        steps.insert(
            0, f"keep to ports {tunnel.port_set} in nftables table {table_of(tunnel.name)}"
        )
    return steps


def down(name: str, run_dir: Path) -> str:
    """Stop the client of interface `name`, or remove what a killed one left; tell which."""
    pid, alive = _client_of(name, run_dir)
    if pid is not None and alive:
        _stop(pid)
        return f"{name}: client {pid} stopped"
    with ExitStack() as undo:
        claim = Claim(run_dir, name)
        undo.callback(claim.release)
        host = undo.enter_context(closing(Host()))
        removed = remove(host, name, former_ends(claim))
        status_file(run_dir, name).unlink(missing_ok=True)
        if killswitch.turn_off():
            removed = True
    return f"{name}: {'removed' if removed else 'nothing to remove'}"


def _client_of(name: str, run_dir: Path) -> tuple[int | None, bool]:
    """Process id of the client as far as it is known, and whether it lives."""
    state, alive = read_state(run_dir, name)
    if state is not None:
        return state.pid, alive
    leasing = read_status(run_dir, name, boottime())
    return (None if leasing is None else int(leasing["pid"])), alive


def status(name: str, run_dir: Path) -> dict[str, Any]:
    """Facts and counters of the client of interface `name`; raises DstmError if there is none.

    A client that leases adds `leasing`, see `daemon.client_status`.
    """
    state, alive = read_state(run_dir, name)
    leasing = read_status(run_dir, name, boottime())
    if state is None and leasing is None:
        raise DstmError(f"no dstm-client has {name}")
    facts: dict[str, Any] = {"name": name, "running": alive}
    if leasing is not None:
        facts |= {"pid": leasing.pop("pid"), "leasing": leasing}
    facts |= {} if state is None else dataclasses.asdict(state)
    kind = Kind.TUN if state is None else state.kind
    try:
        if kind is Kind.TUN:
            return facts | {"counters": read_counters(run_dir / f"{name}.counters")}
        with closing(Host()) as host:
            return facts | {"counters": host.octets(name)}
    except OSError:  # killed before it had any
        return facts | {"counters": {}}


def _carry(host: Host, tunnel: Tunnel, claim: Claim, stop: socket.socket) -> None:
    assert host.tun is not None
    with ExitStack() as undo:
        counters = undo.enter_context(closing(Counters(claim.counters)))
        carrier = undo.enter_context(
            closing(Carrier(tunnel.client6, tunnel.tep6, tunnel.interface))
        )
        log.info("up", interface=tunnel.name, backend="tun", through=tunnel.interface or "routes")
        pump = Pump(host.tun, carrier, tunnel.client4, counters, tunnel.port_set)
        pump.run(stop.fileno())
        _log_end(tunnel.name, counters.snapshot())


def _log_end(name: str, counters: dict[str, dict[str, int]]) -> None:
    packets = {verdict: c["packets"] for verdict, c in counters.items() if c["packets"]}
    log.info("stopped", interface=name, **packets)


def _stop(pid: int) -> None:
    """End the process that holds the claim, and wait until it has cleaned up."""
    try:
        process = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    try:
        signal.pidfd_send_signal(process, signal.SIGTERM)
        ended, _, _ = select.select([process], [], [], STOP_WITHIN_S)
    except ProcessLookupError:
        return
    finally:
        os.close(process)
    if not ended:
        raise DstmError(f"client {pid} has not stopped within {STOP_WITHIN_S:.0f} s")


@contextmanager
def _stop_signals() -> Iterator[socket.socket]:
    """Yield a socket that becomes readable at the first stop signal."""
    reader, writer = socket.socketpair()
    with reader, writer:
        writer.setblocking(False)
        former_fd = signal.set_wakeup_fd(writer.fileno())
        former = {number: signal.signal(number, _noted) for number in STOP_SIGNALS}
        try:
            yield reader
        finally:
            for number, handler in former.items():
                signal.signal(number, handler)
            signal.set_wakeup_fd(former_fd)


def _noted(_number: int, _frame: object) -> None:
    """Do nothing here: the wakeup descriptor carries the signal to the loop."""
