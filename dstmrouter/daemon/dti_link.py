"""The interface of a tunnel on this host: made, changed and removed as `dti.plan` says."""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING, Any, Final

import structlog

from dstmrouter.dti import nat
from dstmrouter.dti.module import MODULE, load_module
from dstmrouter.dti.plan import CreateLink, DeleteLink, Ends, is_ours, plan, refusals
from dstmrouter.dti.state import Claim, State, this_netns
from dstmrouter.dti.tunnel import Kind, Tunnel
from dstmrouter.errors import DstmError, SystemCallError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dstmrouter.dti.host import Host

log = structlog.get_logger()

AUTO: Final = (Kind.IP6TNL, Kind.TUN)  # the kernel's own tunnel first: it is faster
BACKENDS: Final = {"auto": AUTO, "tun": (Kind.TUN,), "ip6tnl": (Kind.IP6TNL,)}


def kinds_of(backend: str, *, on_demand: bool) -> tuple[Kind, ...]:
    """What may carry the packets, the best first; only a TUN device can keep packets that wait."""
    return (Kind.TUN,) if on_demand else BACKENDS[backend]


def bring_up(host: Host, tunnel: Tunnel, kinds: Sequence[Kind], claim: Claim) -> Kind:
    """Make the interface with the first of `kinds` that this kernel has; return which.

    The address of a tunnel with a port set is never there without the NAT for it.
    """
    former = former_ends(claim)
    for kind in kinds:
        steps = make_plan(host, tunnel, kind, former)
        claim.write(State.of_this_process(tunnel, kind))
        if tunnel.port_set is not None:
            nat.install(tunnel, tunnel.port_set)
        for step in steps:
            try:
                host.carry_out(step)
            except SystemCallError as error:
                missing = isinstance(step, CreateLink) and error.errno == errno.EOPNOTSUPP
                if not missing or kind is kinds[-1]:
                    raise
                log.info("backend not in this kernel", backend=str(kind), reason=str(error))
                break
            log.debug("done", step=str(step))
        else:
            if tunnel.port_set is None:
                nat.remove(tunnel.name)  # of another lease
            return kind
    raise AssertionError("no backends")


def load_for(kinds: Sequence[Kind]) -> None:
    """Load the module of the kernel's tunnel if `kinds` has it, or log why that is not possible."""
    if Kind.IP6TNL not in kinds:
        log.info("no kernel module is needed", backend=str(kinds[0]))
    elif (why := load_module()) is None:
        log.info("kernel module is loaded", module=MODULE)
    else:
        instead = "none" if kinds[-1] is Kind.IP6TNL else str(kinds[-1])
        log.warning("no kernel module", module=MODULE, reason=why, instead=instead)


def make_plan(host: Host, tunnel: Tunnel, kind: Kind, former: Ends | None) -> list[Any]:
    """The steps to `tunnel`; DstmError tells all that is in the way."""
    found = host.look(tunnel)
    ours = found.link is not None and is_ours(found.link, former)
    reasons = list(refusals(tunnel, found, ours=ours))
    if reasons:
        raise DstmError("; ".join(reasons))
    if found.tep6_through is None:
        log.warning("no route to the tunnel end point yet", tep6=str(tunnel.tep6))
    return list(plan(tunnel, kind, found))


def remove(host: Host, name: str, former: Ends | None) -> bool:
    """Delete the kernel's tunnel if it is ours, then its NAT; a TUN device goes with its process.

    Returns whether there was anything.
    """
    link = host.find_link(name)
    found = link is not None and link.kind == Kind.IP6TNL and is_ours(link, former)
    if found:
        assert link is not None
        host.carry_out(DeleteLink(link.index))
    return nat.remove(name) or found


def former_ends(claim: Claim) -> Ends | None:
    """The tunnel that a killed client has left in this network namespace, if any."""
    former = claim.former
    return former.ends if former is not None and former.netns == this_netns() else None
