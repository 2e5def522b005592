"""`dstm-router replay`: the options, and the table of what became of the frames."""

from __future__ import annotations

import json
from ipaddress import IPv4Address, IPv4Network, IPv6Address
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final, TypeAlias, TypeVar

import typer
from rich.console import Console
from rich.table import Table

from dstmrouter.config.load import load_router
from dstmrouter.daemon.tunnel_rules import tunnel_rules
from dstmrouter.errors import ConfigError
from dstmrouter.pipeline.rules import TunnelRules

if TYPE_CHECKING:
    from collections.abc import Callable

    from dstmrouter.daemon.replay import Side
    from dstmrouter.pipeline.verdict import Verdict

    Counts: TypeAlias = dict[Verdict, tuple[int, int]]


T = TypeVar("T")

MAC4: Final = "02:00:00:00:04:01"
MAC6: Final = "02:00:00:00:06:01"
NEXT4: Final = "02:00:00:00:04:02"
NEXT6: Final = "02:00:00:00:06:02"
CHUNK_SIZE: Final = 2048  # octets; enough for MTUs up to 1774

Bindings: TypeAlias = Annotated[
    Path,
    typer.Option(help="CSV with columns ipv4,client6[,tep6][,psid_offset,psid_len,psid]"),
]
Config: TypeAlias = Annotated[
    Path | None,
    typer.Option(help="router.toml: its rules and pools, instead of options; not its ports."),
]
Tep6: TypeAlias = Annotated[
    list[str] | None, typer.Option(help="Our IPv6 address; may be repeated.")
]
Pools: TypeAlias = Annotated[
    list[str] | None, typer.Option(help="IPv4 prefix of clients; repeatable.")
]
Capture: TypeAlias = Path | None
In4: TypeAlias = Annotated[Capture, typer.Option(help="Frames from the IPv4 side, pcap(ng).")]
In6: TypeAlias = Annotated[Capture, typer.Option(help="Frames from the IPv6 side, pcap(ng).")]
Out4: TypeAlias = Annotated[Capture, typer.Option(help="Where to write frames to IPv4.")]
Out6: TypeAlias = Annotated[Capture, typer.Option(help="Where to write frames to IPv6.")]
Tep4: TypeAlias = Annotated[str | None, typer.Option(help="Our IPv4 address, answers pings.")]
Mac4: TypeAlias = Annotated[str, typer.Option(help="Our MAC address on the IPv4 side.")]
Mac6: TypeAlias = Annotated[str, typer.Option(help="Our MAC address on the IPv6 side.")]
Next4: TypeAlias = Annotated[str, typer.Option(help="MAC address of the IPv4 router.")]
Next6: TypeAlias = Annotated[str, typer.Option(help="MAC address of the IPv6 router.")]
HopLimit: TypeAlias = Annotated[int, typer.Option(min=1, max=255, help="Of outer headers.")]
FlowLabel: TypeAlias = Annotated[
    int | None, typer.Option(min=0, max=0xFFFFF, help="Fixed; else hashed.")
]
Ours: TypeAlias = tuple[list[str], str | None, list[str]]
"""Texts of --tep6, --tep4 and --pool."""
Given: TypeAlias = tuple[TunnelRules, list[IPv4Network], int]
"""Rules, pools, octets of a chunk."""
Hairpin: TypeAlias = Annotated[bool, typer.Option(help="Forward from client to client.")]
Mtu: TypeAlias = Annotated[int, typer.Option(min=1280, help="Path MTU to clients, octets.")]
LinkMtu: TypeAlias = Annotated[int, typer.Option(min=68, max=65535, help="MTU of that link.")]
LinkVlan: TypeAlias = Annotated[
    int | None, typer.Option(min=1, max=4094, help="802.1Q tag of that link.")
]
LinkFilter: TypeAlias = Annotated[str, typer.Option(help="What may pass, as for tcpdump.")]
Compiled: TypeAlias = Annotated[bool, typer.Option("--compiled", help="With the compiled pass.")]
AsJson: TypeAlias = Annotated[bool, typer.Option("--json", help="Counters as one JSON object.")]


def replay(
    bindings: Bindings,
    config: Config = None,
    tep6: Tep6 = None,
    pool: Pools = None,
    in4: In4 = None,
    in6: In6 = None,
    out4: Out4 = None,
    out6: Out6 = None,
    tep4: Tep4 = None,
    mac4: Mac4 = MAC4,
    mac6: Mac6 = MAC6,
    next4: Next4 = NEXT4,
    next6: Next6 = NEXT6,
    mtu4: LinkMtu = 1500,
    mtu6: LinkMtu = 1500,
    vlan4: LinkVlan = None,
    vlan6: LinkVlan = None,
    hop_limit: HopLimit = 64,
    flow_label: FlowLabel = None,
    hairpin: Hairpin = True,
    mtu: Mtu = 1500,
    filter_in4: LinkFilter = "",
    filter_out4: LinkFilter = "",
    filter_in6: LinkFilter = "",
    filter_out6: LinkFilter = "",
    compiled: Compiled = False,
    as_json: AsJson = False,
) -> None:
    """Run captures through the pipeline and write what would leave; needs no privileges."""
    ours = tep6 or [], tep4, pool or []
    sizes: dict[str, Any] = {"hop_limit": hop_limit, "path_mtu": mtu}
    choices = sizes | {"flow_label": flow_label, "hairpin": hairpin}
    given = _told(ours, choices) if config is None else _configured(config, ours)
    sides = [
        _side(in4, out4, (mac4, next4), mtu4, vlan4, (filter_in4, filter_out4)),
        _side(in6, out6, (mac6, next6), mtu6, vlan6, (filter_in6, filter_out6)),
    ]
    _show(_replayed(given, bindings, sides, compiled=compiled), as_json=as_json)


def _replayed(given: Given, bindings: Path, sides: list[Side], *, compiled: bool) -> Counts:
    from dstmrouter.daemon.bindings_file import read_bindings
    from dstmrouter.daemon.replay import replay as run  # a running router reads no captures

    rules, pools, chunk_size = given
    bound = read_bindings(bindings, rules.tep6)
    return run(rules, pools, bound, sides, chunk_size, compiled=compiled)


def _configured(config: Path, ours: Ours) -> Given:
    if any(ours):
        raise ConfigError("--config names tep6, tep4 and pools: not both")
    found = load_router(config)
    return tunnel_rules(found), [each.prefix for each in found.pool], found.umem.chunk_size


def _told(ours: Ours, choices: dict[str, Any]) -> Given:
    tep6, tep4, pools = ours
    if not tep6 or not pools:
        raise ConfigError("expected --config, or --tep6 and --pool")
    rules = TunnelRules(
        tep6=tuple(_parse(IPv6Address, text, "--tep6") for text in tep6),
        tep4=None if tep4 is None else _parse(IPv4Address, tep4, "--tep4"),
        **choices,
    )
    return rules, [_parse(IPv4Network, text, "--pool") for text in pools], CHUNK_SIZE


def _side(
    read: Capture,
    write: Capture,
    macs: tuple[str, str],
    mtu: int,
    vlan: int | None,
    filters: tuple[str, str],
) -> Side:
    from dstmrouter.daemon.replay import Side

    ours, next_hop = (_mac(text) for text in macs)
    into, out = filters
    return Side(
        read=read,
        write=write,
        mac=ours,
        next_mac=next_hop,
        mtu=mtu,
        vlan=vlan,
        filter_in=into,
        filter_out=out,
    )


def _show(counts: Counts, *, as_json: bool) -> None:
    rows = {v.name: {"packets": p, "octets": o, "help": v.help} for v, (p, o) in counts.items()}
    if as_json:
        typer.echo(json.dumps(rows))
        return
    table = Table("verdict", "packets", "octets", "meaning")
    for name, row in rows.items():
        table.add_row(name, *map(str, row.values()))
    Console().print(table)


def _parse(kind: Callable[[str], T], text: str, option: str) -> T:
    try:
        return kind(text)
    except ValueError as error:
        raise ConfigError(f"{option} {text}: {error}") from None


def _mac(text: str) -> bytes:
    octets = _parse(bytes.fromhex, text.replace(":", ""), "MAC address")
    if len(octets) != 6:
        raise ConfigError(f"MAC address {text}: expected six octets like {MAC4}")
    return octets
