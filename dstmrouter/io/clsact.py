"""A TC program on an interface's ingress by the clsact qdisc, for kernels without TCX (< 6.6).

Unlike a link, a filter outlives its process. So it has a fixed place (priority and handle): a new
start replaces what a killed router left there, and a clean stop removes it.
"""

from __future__ import annotations

import errno
import socket
from typing import TYPE_CHECKING, Any, Final, Self

from pyroute2 import IPRoute
from pyroute2.netlink.exceptions import NetlinkError

from dstmrouter.errors import SystemCallError

if TYPE_CHECKING:
    from collections.abc import Callable

    from dstmrouter.io.bpf import Program

PRIORITY: Final = 0xD571
HANDLE: Final = 1
NAME: Final = "dstm_steer"
ETH_P_ALL: Final = 0x0003  # include/uapi/linux/if_ether.h
CLSACT: Final = 0xFFFFFFF1  # TC_H_CLSACT, include/uapi/linux/pkt_sched.h
CLSACT_INGRESS: Final = 0xFFFFFFF2  # TC_H_MAKE(TC_H_CLSACT, TC_H_MIN_INGRESS)
_ABSENT: Final = (errno.ENOENT, errno.EINVAL, errno.ENODEV)  # no filter, no qdisc, no interface


class ClsactFilter:
    """Our filter on one interface."""

    def __init__(self, ifindex: int, *, qdisc_is_ours: bool) -> None:
        self._ifindex = ifindex
        self._qdisc_is_ours = qdisc_is_ours
        self._attached = True

    @classmethod
    def attach(cls, ifindex: int, program: Program) -> Self:
        """Put `program` in place, making the qdisc if there is none.

        Not to be called from a running event loop: pyroute2's IPRoute runs its own.
        """
        where = socket.if_indextoname(ifindex)
        with IPRoute() as route:
            leftover = PRIORITY in _priorities(route, ifindex)
            made = _ask(
                f"add clsact to {where}",
                (errno.EEXIST,),
                lambda: route.tc("add", "clsact", index=ifindex),
            )
            _ask(
                f"add TC filter to {where}",
                (),
                lambda: route.tc(
                    "replace-filter",
                    "bpf",
                    index=ifindex,
                    handle=HANDLE,
                    fd=program.fileno(),
                    name=NAME,
                    parent=CLSACT_INGRESS,
                    protocol=ETH_P_ALL,
                    prio=PRIORITY,
                    direct_action=True,
                ),
            )
        return cls(ifindex, qdisc_is_ours=made or leftover)

    def close(self) -> None:
        """Remove the filter, and the qdisc if it is ours and empty; harmless when repeated."""
        if not self._attached:
            return
        self._attached = False
        with IPRoute() as route:
            _ask(
                f"remove TC filter of interface {self._ifindex}",
                _ABSENT,
                lambda: route.tc(
                    "del-filter",
                    "bpf",
                    index=self._ifindex,
                    handle=HANDLE,
                    parent=CLSACT_INGRESS,
                    protocol=ETH_P_ALL,
                    prio=PRIORITY,
                ),
            )
            if self._qdisc_is_ours and not _priorities(route, self._ifindex):
                _ask(
                    f"remove clsact of interface {self._ifindex}",
                    _ABSENT,
                    lambda: route.tc("del", "clsact", index=self._ifindex),
                )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _priorities(route: IPRoute, ifindex: int) -> set[int]:
    """The priorities of the ingress filters; the upper half of a filter's `info` holds it."""
    return {
        message["info"] >> 16 for message in route.get_filters(index=ifindex, parent=CLSACT_INGRESS)
    }


def _ask(tried: str, harmless: tuple[int, ...], request: Callable[[], Any]) -> bool:
    """Send a request; False if it failed with one of the `harmless` errors."""
    try:
        request()
    except NetlinkError as error:
        if error.code in harmless:
            return False
        raise SystemCallError(tried, error.code, str(error.args[-1])) from error
    return True
