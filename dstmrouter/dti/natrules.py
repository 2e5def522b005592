"""The nftables table that keeps a client with a port set to its ports; text only, no I/O.

Port translation at the client (NAPT44, RFC 7596 section 5.2.1; RFC 7597 section 8.1). The table has

- `translate`: what leaves through dti gets the lent address and a port or ICMP identifier of the
  set. A port that is in the set already is kept if it can be;
- `leaving`, `arriving`: whatever is not of the set all the same, or has no ports, is dropped;
- `patience`: UDP mappings live as long as RFC 4787 REQ-5 wants, but those to well-known ports, DNS
  above all, which would use up a small set. Pings are a setting of the host (`dti.pingtime`), whose
  former value is noted here.

The kernel maps to one range of ports a rule. Of a set of many ranges one is chosen by hashing the
inner address and port, so one inner port keeps one outer port whoever it talks to (RFC 4787 REQ-1).
A range can be full while others are not: the kernel then drops the packet and forgets the flow. So
a flow is noted in `tried`, and whenever its first packet comes again, another range has its turn.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from dstmrouter.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dstmrouter.dti.tunnel import Tunnel
    from dstmrouter.protocols.granted import PortSet

MARK: Final = "dstm-client"  # begins the comment of a table that is ours
PINGS: Final = "seconds that pings were remembered before:"
QUOTABLE: Final = re.compile(r"[A-Za-z0-9_.-]+")  # elsewhere nft has marks of its own
TRIED_S: Final = 10
TRIED_MAX: Final = 16384  # more are not noted, and stay with the range that they have

FLOW: Final = "ip saddr . meta l4proto . th sport . ip daddr . th dport"
ICMP_ERRORS: Final = "destination-unreachable, time-exceeded, parameter-problem"

TABLE: Final = """\
add table ip {table}
delete table ip {table}
table ip {table} {{
  comment "{comment}"
  ct timeout long_udp {{
    protocol udp
    l3proto ip
    policy = {{ unreplied : 120, replied : 300 }}
  }}
  set ports {{ type inet_service; flags interval; elements = {{ {ranges} }} }}
  set identifiers {{ typeof icmp id; flags interval; elements = {{ {ranges} }} }}
  map kept {{
    type inet_service : interval ipv4_addr . inet_service
    flags interval
    elements = {{ {kept} }}
  }}
  set tried {{
    typeof {flow}
    size {tried_max}
    flags dynamic,timeout
    timeout {tried_s}s
  }}
  chain patience {{
    comment "{pings} {ping_s}"
    type filter hook postrouting priority srcnat - 10
    oifname "{name}" udp dport >= 1024 ct timeout set "long_udp"
  }}
  chain translate {{
    type nat hook postrouting priority srcnat
    oifname != "{name}" accept
    meta l4proto {{ tcp, udp }} snat ip addr . port to th sport map @kept
    meta l4proto {{ tcp, udp }} {flow} @tried snat ip addr . port to numgen inc {choice}
    meta l4proto {{ tcp, udp }} add @tried {{ {flow} }}
    meta l4proto {{ tcp, udp }} snat ip addr . port to jhash ip saddr . th sport {choice}
    icmp type echo-request snat ip addr . port to jhash ip saddr . icmp id {choice}
  }}
  chain leaving {{
    type filter hook postrouting priority srcnat + 10
    oifname != "{name}" accept
    ip saddr != {client4} counter drop
    meta l4proto {{ tcp, udp }} th sport @ports accept
    icmp type {{ echo-request, echo-reply }} icmp id @identifiers accept
    icmp type {{ {errors} }} accept
    counter drop
  }}
  chain arriving {{
    type filter hook prerouting priority raw
    iifname != "{name}" accept
    ip daddr != {client4} counter drop
    meta l4proto {{ tcp, udp }} th dport @ports accept
    icmp type {{ echo-request, echo-reply }} icmp id @identifiers accept
    icmp type {{ {errors} }} accept
    counter drop
  }}
}}
"""


def table_of(name: str) -> str:
    """The table of the interface `name`; ConfigError if nft could not read it."""
    if not QUOTABLE.fullmatch(name):
        raise ConfigError(
            f"dti-name {name!r}: expected letters, digits, '_', '.' and '-' for a shared address"
        )
    return f"dstm_{name}"


def ruleset(tunnel: Tunnel, ports: PortSet, ping_s: int) -> str:
    """What `nft -f -` must be given to have the table, in place of a former one, at once.

    `ping_s` is what the host's setting was before.
    """
    ranges = usable(ports)
    client4 = tunnel.client4
    choices = (f"{i} : {client4} . {span}" for i, span in enumerate(ranges))
    return TABLE.format(
        table=table_of(tunnel.name),
        comment=comment_of(tunnel, ports),
        name=tunnel.name,
        client4=client4,
        ranges=", ".join(ranges),
        kept=", ".join(f"{span} : {client4} . {span}" for span in ranges),
        choice=f"mod {len(ranges)} map {{ {', '.join(choices)} }}",
        flow=FLOW,
        errors=ICMP_ERRORS,
        pings=PINGS,
        ping_s=ping_s,
        tried_s=TRIED_S,
        tried_max=TRIED_MAX,
    )


def comment_of(tunnel: Tunnel, ports: PortSet) -> str:
    """Whose table it is, and for what."""
    return f"{MARK} {tunnel.client4} {ports}"


def usable(ports: PortSet) -> Sequence[str]:
    """The ranges of a set without port 0, as nft writes them; ConfigError if nothing is left."""
    ranges = [(max(first, 1), last) for first, last in ports.ranges]
    found = [f"{first}-{last}" if first < last else str(first) for first, last in ranges if last]
    if not found:
        raise ConfigError(f"port set {ports}: expected a port besides 0")
    return found
