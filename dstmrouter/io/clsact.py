"""A TC program on an interface's ingress by the clsact qdisc, for kernels without TCX (< 6.6).

Unlike a link, a filter outlives its process. So it has a fixed place (priority and handle): a new
start replaces what a killed router left there, and a clean stop removes it.
"""

from __future__ import annotations

import errno
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, Final, Self, TypeVar

from dstmrouter.errors import SystemCallError
from dstmrouter.io.interface import interface_name
from dstmrouter.io.owner import Closing

if TYPE_CHECKING:
    from collections.abc import Callable

    from pyroute2 import IPRoute

    from dstmrouter.io.bpf import Program

PRIORITY: Final = 0xD571
HANDLE: Final = 1
NAME: Final = "dstm_steer"
ETH_P_ALL: Final = 0x0003  # include/uapi/linux/if_ether.h
CLSACT_INGRESS: Final = 0xFFFFFFF2  # include/uapi/linux/pkt_sched.h: TC_H_CLSACT's ingress

Result = TypeVar("Result")

_ABSENT: Final = (errno.ENOENT, errno.EINVAL, errno.ENODEV)  # no filter, no qdisc, no interface


class ClsactFilter(Closing):
    """Our filter on one interface."""

    def __init__(self, ifindex: int, *, qdisc_is_ours: bool) -> None:
        self._ifindex = ifindex
        self._qdisc_is_ours = qdisc_is_ours
        self._attached = True

    @classmethod
    def attach(cls, ifindex: int, program: Program) -> Self:
        """Put `program` in place, making the qdisc if there is none."""
        return cls(ifindex, qdisc_is_ours=_in_thread(lambda: _place(ifindex, program)))

    def close(self) -> None:
        """Remove the filter, and the qdisc if it is ours and empty; harmless when repeated."""
        if self._attached:
            self._attached = False
            _in_thread(lambda: _remove(self._ifindex, qdisc_too=self._qdisc_is_ours))


def _in_thread(work: Callable[[], Result]) -> Result:
    """Run `work` where no event loop runs: pyroute2's IPRoute brings its own."""
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(work).result()


def _requests() -> IPRoute:
    from pyroute2 import IPRoute  # takes 0.1 s, which workers that do without save

    return IPRoute()


def _place(ifindex: int, program: Program) -> bool:
    """Add or replace the filter; True if the qdisc is ours, from now or from a killed router."""
    where = interface_name(ifindex)
    with _requests() as route:
        leftover = PRIORITY in _priorities(route, ifindex)
        made = _ask(
            f"add clsact to {where}",
            (errno.EEXIST,),
            lambda: route.tc("add", "clsact", index=ifindex),
        )
        options = {"fd": program.fileno(), "name": NAME, "direct_action": True}
        _ask(
            f"add TC filter to {where}",
            (),
            lambda: route.tc("replace-filter", "bpf", **_place_of_filter(ifindex), **options),
        )
    return made or leftover


def _remove(ifindex: int, *, qdisc_too: bool) -> None:
    with _requests() as route:
        _ask(
            f"remove TC filter of interface {ifindex}",
            _ABSENT,
            lambda: route.tc("del-filter", "bpf", **_place_of_filter(ifindex)),
        )
        if qdisc_too and not _priorities(route, ifindex):
            _ask(
                f"remove clsact of interface {ifindex}",
                _ABSENT,
                lambda: route.tc("del", "clsact", index=ifindex),
            )


def _place_of_filter(ifindex: int) -> dict[str, int]:
    return {
        "index": ifindex,
        "parent": CLSACT_INGRESS,
        "protocol": ETH_P_ALL,
        "prio": PRIORITY,
        "handle": HANDLE,
    }


def _priorities(route: IPRoute, ifindex: int) -> set[int]:
    """The priorities of the ingress filters; the upper half of a filter's `info` holds it."""
    return {
        message["info"] >> 16 for message in route.get_filters(index=ifindex, parent=CLSACT_INGRESS)
    }


def _ask(tried: str, harmless: tuple[int, ...], request: Callable[[], Any]) -> bool:
    """Send a request; False if it failed with one of the `harmless` errors."""
    from pyroute2.netlink.exceptions import NetlinkError

    try:
        request()
    except NetlinkError as error:
        if error.code in harmless:
            return False
        raise SystemCallError(tried, error.code, str(error.args[-1])) from error
    return True
