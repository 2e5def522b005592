"""dstmctl trace, capture, explain: single packets, and what the router makes of them."""

from __future__ import annotations

import re
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from dstmrouter.cli.ctl_access import ROUTER_DEFAULT, Access, AsJson, Router, print_json
from dstmrouter.errors import ConfigError, ControlError
from dstmrouter.io.pcapfilter import compile_filter

if TYPE_CHECKING:
    from collections.abc import Iterator

    from dstmrouter.io.pcapng import CommentedWriter

EXPLAINED_AT_ONCE: Final = 32  # what a router takes in one call
TAKEN_AT_ONCE: Final = 64  # what a worker's ring holds
_SEPARATORS: Final = re.compile(r"[\s:.-]|0x")

Expression = Annotated[
    str, typer.Option("--filter", metavar="EXPR", help="only packets that tcpdump would show")
]
Verdicts = Annotated[
    list[str] | None,
    typer.Option("--verdict", metavar="NAME", help="only these; a beginning will do: DROP_SPOOF"),
]
Seconds = Annotated[
    float | None, typer.Option("--seconds", min=0.1, help="stop then; default: never")
]


def trace(
    context: typer.Context,
    router: Router = ROUTER_DEFAULT,
    count: Annotated[int, typer.Option(min=1, help="packets to show")] = 20,
    expression: Expression = "",
    verdict: Verdicts = None,
    seconds: Seconds = None,
    as_json: AsJson = False,
) -> None:
    """Show the way of single packets through the router, with the fact that decided at each step.

    Filters see frames as they come in: `--filter "udp and ip6 dst 2001:db8:f::1"`.
    """
    wanted = _Wanted(expression, verdict or [], count, seconds, facts=True)
    with _Watch(Access.in_use(context), router, wanted) as watch:
        for packet in watch.packets():
            if as_json:
                print_json(packet)
            else:
                typer.echo(_story(packet))
    _tell_missed(watch)


def capture(
    context: typer.Context,
    file: Annotated[Path, typer.Option("--write", "-w", metavar="FILE", help="pcapng file")],
    router: Router = ROUTER_DEFAULT,
    count: Annotated[int, typer.Option(min=1, help="packets to write")] = 1000,
    expression: Expression = "",
    verdict: Verdicts = None,
    seconds: Seconds = None,
    sent: Annotated[bool, typer.Option("--sent", help="also frames as they leave")] = False,
) -> None:
    """Write packets to a file for Wireshark or tcpdump, each with its verdict as a comment."""
    from dstmrouter.io.pcapng import CommentedWriter  # with all of dpkt: only here

    wanted = _Wanted(expression, verdict or [], count, seconds, facts=False)
    with _Watch(Access.in_use(context), router, wanted) as watch:
        writer = CommentedWriter(file, watch.ports)
        try:
            for packet in watch.packets():
                _write(writer, watch.ports, packet, sent=sent)
        finally:
            writer.close()
            typer.echo(f"{file}: {writer.written} frames")  # also at Ctrl-C
    _tell_missed(watch)


def explain(
    context: typer.Context,
    packet: Annotated[
        str,
        typer.Argument(
            metavar="PACKET|FILE", help="an Ethernet frame in hexadecimal digits, or a capture"
        ),
    ],
    router: Router = ROUTER_DEFAULT,
    port: Annotated[
        str | None,
        typer.Option(help="by which it comes in; default: the first one of its VLAN"),
    ] = None,
    count: Annotated[int, typer.Option(min=1, help="packets of a capture to explain")] = 100,
    as_json: AsJson = False,
) -> None:
    """Tell what the router would do with packets now, and why. Nothing is sent."""
    access = Access.in_use(context)
    frames = list(_frames(packet, count))
    for first in range(0, len(frames), EXPLAINED_AT_ONCE):
        part = frames[first : first + EXPLAINED_AT_ONCE]
        for found in access.call(router, "explain", frames=part, port=port)["packets"]:
            found["number"] += first
            if as_json:
                print_json(found)
            else:
                typer.echo(_story(found))


class _Wanted:
    """What a watch is for."""

    def __init__(
        self,
        expression: str,
        verdicts: list[str],
        count: int,
        seconds: float | None,
        *,
        facts: bool,
    ) -> None:
        self.program = compile_filter(expression) if expression else b""
        self.verdicts = verdicts
        self.count = count
        self.seconds = seconds
        self.facts = facts


class _Watch:
    """A watch of a router, from the first to the last packet; a context manager."""

    def __init__(self, access: Access, router: str, wanted: _Wanted) -> None:
        self._access, self._router, self._wanted = access, router, wanted
        self.missed = 0

    def __enter__(self) -> _Watch:
        wanted = self._wanted
        begun = self._access.call(
            self._router, "watch.start", verdicts=wanted.verdicts, program=wanted.program
        )
        self._token, self.ports = begun["watch"], list(begun["ports"])
        return self

    def __exit__(self, *_: object) -> None:
        """Stop it, also at Ctrl-C; one that the router has ended already is no error."""
        try:
            self._access.call(self._router, "watch.stop", watch=self._token)
        except ControlError:
            return

    def packets(self) -> Iterator[dict[str, Any]]:
        """Packets as they come, until there are enough or the time is over."""
        left = self._wanted.count
        ends = None if self._wanted.seconds is None else time.monotonic() + self._wanted.seconds
        while left and (ends is None or time.monotonic() < ends):
            answer = self._access.call(
                self._router,
                "watch.take",
                watch=self._token,
                limit=min(left, TAKEN_AT_ONCE),
                facts=self._wanted.facts,
            )
            self.missed = answer["missed"]
            left -= len(answer["packets"])
            yield from answer["packets"]


def _tell_missed(watch: _Watch) -> None:
    if watch.missed:
        typer.echo(f"{watch.missed} more packets came faster than they were taken", err=True)


def _story(packet: dict[str, Any]) -> str:
    """One packet over several lines."""
    where = f"worker {packet['worker']}" if "worker" in packet else f"packet {packet['number'] + 1}"
    stamp = time.strftime("%H:%M:%S", time.localtime(packet["time_ns"] // 10**9))
    lines = [f"{stamp}.{packet['time_ns'] // 1000 % 10**6:06} {where}"]
    lines += [f"  {fact['step']:<12} {fact['text']}" for fact in packet["facts"]]
    lines.append(f"  {'verdict':<12} {packet['verdict']}: {packet['help']}")
    if packet["sent"]:
        sent = packet["sent"]
        lines.append(f"  {'sent':<12} by {packet['sent_by']}, {len(sent)} octets: {sent.hex()}")
    return "\n".join(lines)


def _write(
    writer: CommentedWriter, ports: list[str], packet: dict[str, Any], *, sent: bool
) -> None:
    way = "our own, out" if packet["made"] else "in"
    comment = f"{packet['verdict']}: {packet['help']} ({way} by {packet['port']})"
    number = ports.index(packet["port"])
    writer.write(number, packet["frame"], packet["time_ns"], comment)
    if sent and packet["sent"]:
        number = ports.index(packet["sent_by"])
        comment = f"{packet['verdict']}: sent by {packet['sent_by']}"
        writer.write(number, packet["sent"], packet["time_ns"], comment)


def _frames(packet: str, count: int) -> Iterator[bytes]:
    """The frame that the digits spell, or those of a file."""
    from dstmrouter.io.capturefile import read_packets  # with all of dpkt: only here

    try:
        octets = bytes.fromhex(_SEPARATORS.sub("", packet))
    except ValueError:
        octets = b""
    if octets:
        yield octets
        return
    path = Path(packet)
    if not path.exists():
        raise ConfigError(f"{packet:.60}: neither hexadecimal digits nor a file")
    for number, frame in enumerate(read_packets(path)):
        if number == count:
            return
        yield frame
