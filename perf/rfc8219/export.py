"""Configuration of devices for the bindings that the tester's frames belong to.

    python -m perf.rfc8219 export kernel --bindings 256 --interfaces eth1 eth2 >kernel.batch
    ip -batch kernel.batch

Binding number n is the address n places after that of the pool, held by the client whose IPv6
address ends in it; whole addresses, one tunnel each. Formats are those of the programs' own
documentation: `ip -batch` of iproute2, YANG text of Snabb (snabb-softwire-v2), command lines of VPP
(plugins/map), `router.toml`. A running `dstm-router` gets its bindings by `push`.
"""

from __future__ import annotations

import dataclasses
import sys
from ipaddress import IPv4Address, IPv6Address
from typing import TYPE_CHECKING, Final

import numpy as np

from perf.gateway import MACS, POOL, TEP4, TEP6
from perf.packets import client6_of
from perf.rfc8219.frames import OVERHEAD

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Iterator

MTU4: Final = 1500
MTU6: Final = MTU4 + OVERHEAD
CLIENTS: Final = "2001:db8:1::/64"
OWN: Final = {"6": "2001:db8:6::1", "4": "203.0.113.1"}
PEER: Final = {"6": "2001:db8:6::2", "4": "203.0.113.2"}  # the tester, behind which all is
LENGTH: Final = {"6": 64, "4": 24}


@dataclasses.dataclass(frozen=True, slots=True)
class Plan:
    """What a device has to know; by side, "6" towards the clients, "4" towards the Internet."""

    count: int
    interfaces: dict[str, str]
    macs: dict[str, str]  # the device's own
    tester_macs: dict[str, str]


def bindings(count: int) -> Iterator[tuple[IPv4Address, IPv6Address]]:
    """Address and client of each binding."""
    ipv4 = np.uint32(int(POOL.network_address)) + np.arange(count, dtype=np.uint32)
    for address, words in zip(ipv4.tolist(), client6_of(ipv4), strict=True):
        yield IPv4Address(address), IPv6Address(words.tobytes())


def kernel_tunnels(count: int) -> str:
    """`ip -batch`: an interface of ip6tnl for each binding, and its route."""
    lines = []
    for number, (ipv4, client6) in enumerate(bindings(count)):
        lines += [
            f"link add name tun{number} type ip6tnl mode ipip6 local {TEP6} remote {client6}"
            " encaplimit none",
            f"link set dev tun{number} up",
            f"route add {ipv4}/32 dev tun{number}",
        ]
    return "\n".join([*lines, ""])


def kernel(plan: Plan) -> str:
    """Interfaces, neighbours, routes and tunnels; forwarding itself is a matter of sysctl(8)."""
    lines = [f"address add {TEP6}/128 dev lo"]
    for side, mtu in (("6", MTU6), ("4", MTU4)):
        dev = plan.interfaces[side]
        lines += [
            f"link set dev {dev} mtu {mtu} up",
            f"address add {OWN[side]}/{LENGTH[side]} dev {dev}",
            f"neighbour replace {PEER[side]} lladdr {plan.tester_macs[side]}"
            f" nud permanent dev {dev}",
        ]
    lines += [f"route add {CLIENTS} via {PEER['6']}", f"route replace default via {PEER['4']}"]
    return "\n".join([*lines, kernel_tunnels(plan.count)])


def snabb(plan: Plan) -> str:
    """`snabb lwaftr run --conf`: IPv6 on the instance's device, IPv4 on the queue's."""
    softwires = "".join(
        f"    softwire {{ ipv4 {ipv4}; psid 0; b4-ipv6 {client6}; br-address {TEP6};"
        " port-set { psid-length 0; } }\n"
        for ipv4, client6 in bindings(plan.count)
    )
    external, internal = (
        f"ip {address}; mac {plan.macs[side]}; next-hop {{ mac {plan.tester_macs[side]}; }}"
        for side, address in (("4", OWN["4"]), ("6", TEP6))
    )
    return f"""\
softwire-config {{
  instance {{
    device {plan.interfaces["6"]};
    queue {{
      id 0;
      external-interface {{ device {plan.interfaces["4"]}; {external} }}
      internal-interface {{ {internal} }}
    }}
  }}
  external-interface {{ mtu {MTU4}; mru {MTU4}; }}
  internal-interface {{ mtu {MTU6}; mru {MTU6}; }}
  binding-table {{
{softwires}  }}
}}
"""


def vpp(plan: Plan) -> str:
    """`vppctl exec`: MAP domains of one whole address each (RFC 7597 section 5.2 without EA bits).

    VPP's table of domains for clients' packets has the tunnel's own address as its key, which all
    share here: with more than one binding, direction decap should fail its check of sources.
    """
    lines = []
    for side, mtu in (("6", MTU6), ("4", MTU4)):
        port = plan.interfaces[side]
        lines += [
            f"set interface mtu packet {mtu} {port}",
            f"set interface state {port} up",
            f"set interface ip address {port} {OWN[side]}/{LENGTH[side]}",
            f"set ip neighbor {port} {PEER[side]} {plan.tester_macs[side]} static",
            f"map interface {port}",
        ]
    lines += [f"ip route add {CLIENTS} via {PEER['6']}", f"ip route add 0.0.0.0/0 via {PEER['4']}"]
    lines += [
        f"map add domain ip4-pfx {ipv4}/32 ip6-pfx {client6}/128 ip6-src {TEP6}"
        " ea-bits-len 0 psid-offset 0 psid-len 0"
        for ipv4, client6 in bindings(plan.count)
    ]
    return "\n".join([*lines, ""])


def dstm(plan: Plan) -> str:
    """`router.toml`; addresses, neighbours and routes are the kernel's, as in `kernel`."""
    ports = "".join(f'[[port]]\ninterface = "{plan.interfaces[side]}"\n' for side in "64")
    return f"""\
[router]
name = "device"

{ports}
[tunnel]
tep6 = ["{TEP6}"]
tep4 = "{TEP4}"
mtu = {MTU6}

[[pool]]
prefix = "{POOL}"

[table]
leases = {max(plan.count, 1024)}
"""


FORMATS: Final[dict[str, Callable[[Plan], str]]] = {
    "dstm": dstm,
    "kernel": kernel,
    "snabb": snabb,
    "vpp": vpp,
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Format, number of bindings, and how the device is wired."""
    parser.add_argument("format", choices=FORMATS)
    parser.add_argument("--bindings", type=int, default=256, help="how many (default 256)")
    for name, prefix, what in (
        ("--interfaces", "", "the device's interfaces, as it names them"),
        ("--macs", "port", "their MAC addresses"),
        ("--tester-macs", "far", "those of the tester's ports"),
    ):
        default = ["port6", "port4"] if not prefix else [MACS[f"{prefix}{s}"] for s in "64"]
        parser.add_argument(name, nargs=2, metavar=("SIDE6", "SIDE4"), default=default, help=what)


def run(args: argparse.Namespace) -> int:
    """Print it; 2 for more bindings than the pool has addresses."""
    if not 1 <= args.bindings <= POOL.num_addresses:
        print(f"--bindings {args.bindings}: expected 1 to {POOL.num_addresses}", file=sys.stderr)
        return 2
    interfaces, macs, tester_macs = (
        dict(zip("64", words, strict=True))
        for words in (args.interfaces, args.macs, args.tester_macs)
    )
    plan = Plan(args.bindings, interfaces, macs, tester_macs)
    sys.stdout.write(FORMATS[args.format](plan))
    return 0
