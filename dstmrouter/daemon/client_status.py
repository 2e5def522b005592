"""What a leasing client writes down: its status for others, its last address for itself.

`RUN_DIR/NAME.status.json` is replaced at every change. Times in it are seconds of CLOCK_BOOTTIME,
which goes on while the host sleeps, as leases do.
"""

from __future__ import annotations

import json
import os
import time
from contextlib import suppress
from ipaddress import IPv4Address
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from pathlib import Path

    from dstmrouter.protocols.lifecycle import Lifecycle

TIMES: Final = ("expires", "t1", "t2", "retry")


def boottime() -> float:
    """The clock of all that concerns leases at the client."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


class StatusBoard:
    """The files of the client that has the interface `name`."""

    def __init__(self, run_dir: Path, name: str) -> None:
        self._status = status_file(run_dir, name)
        self._last = run_dir / f"{name}.last"
        self._shown = ""

    def show(self, life: Lifecycle, **more: Any) -> None:
        """Write the state of `life`, if it is another than before; `more` is added."""
        text = json.dumps(_facts(life) | more, default=str)
        if text != self._shown:
            fresh = self._status.with_suffix(".new")
            fresh.write_text(text)
            fresh.replace(self._status)
            self._shown = text

    def remember(self, client4: IPv4Address) -> None:
        """Keep the address that was lent, as a wish for the next time."""
        self._last.write_text(f"{client4}\n")

    def remembered(self) -> IPv4Address | None:
        """The address that was lent last."""
        try:
            return IPv4Address(self._last.read_text().strip())
        except (OSError, ValueError):
            return None

    def clear(self) -> None:
        """The client has ended: it has no status."""
        self._status.unlink(missing_ok=True)


def status_file(run_dir: Path, name: str) -> Path:
    """Where the status of the client that has interface `name` is."""
    return run_dir / f"{name}.status.json"


def read_status(run_dir: Path, name: str, now: float) -> dict[str, Any] | None:
    """The status at `now`, with times left instead of times of the clock; None if there is none."""
    with suppress(OSError, ValueError, KeyError, TypeError):
        facts: dict[str, Any] = json.loads(status_file(run_dir, name).read_text())
        for what in TIMES:
            at = facts.pop(f"{what}_at")
            facts[f"{what}_in_s"] = None if at is None else round(at - now, 1)
        return facts
    return None


def _facts(life: Lifecycle) -> dict[str, Any]:
    term = life.term
    facts: dict[str, Any] = {
        "pid": os.getpid(),
        "state": life.state.name,
        "meaning": life.state.value,
        "wanted": life.wanted,
        "lease": None,
        "retry_at": life.retry_at,
        **dict.fromkeys(("expires_at", "t1_at", "t2_at")),
    }
    if term is not None:
        lease = term.lease
        facts |= {
            "lease": {
                "client4": lease.client4,
                "client6": lease.client6,
                "tep4": lease.tep4,
                "tep6": lease.tep6,
                "port_set": lease.port_set,  # offset/length/PSID
                "lifetime_s": lease.lifetime_s,
                "mtu": lease.mtu,
            },
            "expires_at": term.expires_at,
            "t1_at": term.t1,
            "t2_at": term.t2,
        }
    return facts
