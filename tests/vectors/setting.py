"""A case as a router's configuration: `router.toml`, bindings as CSV and as columns."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Network
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np

from dstmrouter.binding import LIFETIME_FOREVER, BindingColumns, full_address_columns, words6
from tests.vectors import octets
from tests.vectors.case import all_cases

if TYPE_CHECKING:
    from collections.abc import Iterator
    from ipaddress import IPv6Address

    from tests.vectors.case import Case

PORT4, PORT6 = "port4", "port6"
HOP_LIMIT: Final = 255  # of outer headers and of ICMP errors, in all cases
FRAMES: Final = 16384
CLIENTS: Final = "127::/16"  # where the clients of the cases are


def tep6(case: Case) -> list[IPv6Address]:
    """Our addresses; the first is that of the interface."""
    own = [octets.address6(case.v6.address), *(wire.tep6 for wire in case.softwires)]
    return list(dict.fromkeys(own))


def pools(case: Case) -> list[IPv4Network]:
    """The original takes whatever arrives on its IPv4 link: so all of that is in our pools.

    What arrives in other cases too, so that one router can serve all cases of a configuration.
    """
    covered = {IPv4Network((int(wire.ipv4) & ~0xFF, 24)) for wire in case.softwires}
    arriving = {dst for each in (case, *all_cases()) for dst in _destinations4(each)}
    outside = {dst for dst in arriving if not any(dst in pool for pool in covered)}
    return sorted(covered | set(map(IPv4Network, outside)))


def _destinations4(case: Case) -> Iterator[IPv4Address]:
    for frame in case.in4:
        packet = frame[octets.ip_at(frame) :]
        if packet[0] >> 4 == 4:
            yield IPv4Address(packet[16:20])


def router_toml(case: Case, run_dir: Path, mode: str = "auto") -> str:
    """The text of `router.toml` for a router whose ports are PORT4 and PORT6."""
    ports = ""
    for name, side in ((PORT4, case.v4), (PORT6, case.v6)):
        vlan = "" if side.vlan is None else f'vlan = {side.vlan}\nkernel_interface = "{name}"\n'
        filters = f'filter_in = "{side.filter_in or ""}"\nfilter_out = "{side.filter_out or ""}"\n'
        ports += f'\n[[port]]\ninterface = "{name}"\nmode = "{mode}"\n{vlan}{filters}'
    prefixes = "".join(f'\n[[pool]]\nprefix = "{pool}"\n' for pool in pools(case))
    return f"""\
[router]
name = "vectors"
control = "ipc://{run_dir}/router"
run_dir = "{run_dir}"
{ports}
[worker]
engine = "numpy"

[umem]
frames = {FRAMES}
chunk_size = 4096

[tunnel]
tep6 = [{", ".join(f'"{address}"' for address in tep6(case))}]
tep4 = "{case.v4.address}"
hop_limit = {HOP_LIMIT}
flow_label = {case.flow_label}
hairpin = {_toml(case.hairpin)}
mtu = {case.v6.mtu}

[reassembly]
per_datagram = {case.v6.max_fragments}

[icmp]
generate_icmpv4_errors = {_toml(case.v4.makes_icmp)}
generate_icmpv6_errors = {_toml(case.v6.makes_icmp)}
access_prefixes = ["{CLIENTS}"]
ttl = {HOP_LIMIT}
{prefixes}"""


def _toml(value: bool) -> str:
    return str(value).lower()


def key(case: Case) -> str:
    """The same for cases that one router can serve."""
    links = [(side.mac, side.next_mac, side.mtu) for side in (case.v4, case.v6)]
    return f"{router_toml(case, Path())}{links}{bindings_csv(case)}"


def bindings_csv(case: Case) -> str:
    """The bindings as `dstm-router replay` reads them."""
    lines = ["ipv4,client6,tep6,psid_offset,psid_len,psid"]
    for wire in case.softwires:
        ports = f"{wire.psid_offset},{wire.psid_len},{wire.psid}"
        lines.append(f"{wire.ipv4},{wire.client6},{wire.tep6},{ports}")
    return "\n".join(lines) + "\n"


def bindings(case: Case) -> BindingColumns:
    """The bindings as they are pushed."""
    wires, teps = case.softwires, tep6(case)
    columns = full_address_columns(
        np.array([int(wire.ipv4) for wire in wires], np.uint32),
        words6([wire.client6 for wire in wires]),
        lifetime_s=LIFETIME_FOREVER,
        tep6=teps,
        tep=np.array([teps.index(wire.tep6) for wire in wires], np.uint8),
    )
    columns.psid_offset[:] = [wire.psid_offset for wire in wires]
    columns.psid_len[:] = [wire.psid_len for wire in wires]
    columns.psid[:] = [wire.psid for wire in wires]
    return columns
