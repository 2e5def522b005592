"""The kill switch: while it is on, IPv4 leaves this host through the tunnel or not at all.

A policy rule of high precedence sends every IPv4 look-up but those for local addresses to a table
of our own. That holds the routes of the tunnel, as long as there is one, and below them
`unreachable default`. It is the kernel's, not the process's: it outlives a kill -9, and is taken
away by a clean stop or by `dstm-client down`.
"""

from __future__ import annotations

import errno
import os
import socket
from typing import Any, Final

from pyroute2 import IPRoute, NetlinkError

from dstmrouter.errors import SystemCallError

TABLE: Final = 5270  # not one of linux/rtnetlink.h, and unlikely to be anybody's
PREFERENCE: Final = 5270  # after the local table (0), before the main one (32766)
LAST_METRIC: Final = 0xFFFFFFFF


def turn_on() -> None:
    """Close the ways out; harmless when repeated. Raises SystemCallError."""
    with IPRoute() as kernel:
        _quietly(kernel.route, "add", errno.EEXIST, **_route())
        if not _rules(kernel):
            _quietly(kernel.rule, "add", errno.EEXIST, **_rule())


def turn_off() -> bool:
    """Open them again; whether they were closed. Raises SystemCallError."""
    with IPRoute() as kernel:
        was_on = bool(_rules(kernel))
        for _ in _rules(kernel):
            _quietly(kernel.rule, "del", errno.ENOENT, **_rule())
        _quietly(kernel.route, "del", errno.ESRCH, **_route())
    return was_on


def _rules(kernel: Any) -> list[Any]:
    rules = kernel.get_rules(family=socket.AF_INET)
    return [rule for rule in rules if rule.get("table") == TABLE]


def _rule() -> dict[str, Any]:
    return {"family": socket.AF_INET, "table": TABLE, "priority": PREFERENCE}


def _route() -> dict[str, Any]:
    return {"dst": "0.0.0.0/0", "type": "unreachable", "table": TABLE, "priority": LAST_METRIC}


def _quietly(change: Any, verb: str, done_already: int, **what: Any) -> None:
    try:
        change(verb, **what)
    except NetlinkError as error:
        if error.code != done_already:
            tried = f"{verb} the kill switch (table {TABLE})"
            raise SystemCallError(tried, error.code, os.strerror(error.code)) from error
