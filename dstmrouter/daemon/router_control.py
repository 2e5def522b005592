"""What dstmctl asks a router: status, bindings, counters, ports, where the time goes."""

from __future__ import annotations

import time
from ipaddress import IPv4Address
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from dstmrouter import __version__
from dstmrouter.binding import USAGE_FIELDS, address4, address6
from dstmrouter.daemon.params import flag
from dstmrouter.errors import DstmError
from dstmrouter.pipeline.bindings import FOREVER
from dstmrouter.pipeline.hops import HOP, HopState
from dstmrouter.pipeline.verdict import Verdict
from dstmrouter.runtime import TurnStep

if TYPE_CHECKING:
    import numpy.typing as npt

    from dstmrouter.daemon.router import Supervisor
    from dstmrouter.io.kernelobjects import Link
    from dstmrouter.runtime import Line
    from dstmrouter.zmqctl import Handler

LIMIT: Final = 1000  # bindings in one answer


class RouterControl:
    """Reads the supervisor's tables; changes nothing."""

    def __init__(self, router: Supervisor) -> None:
        self._router = router

    def handlers(self) -> dict[str, Handler]:
        """The control methods by name."""
        return {
            "status": self._status,
            "bindings": self._bindings,
            "counters": self._counters,
            "ports": self._ports,
            "runtime": self._runtime,
        }

    async def _status(self, _params: dict[str, Any]) -> dict[str, Any]:
        router = self._router
        workers = router.workers
        board = router.shared.noticeboard
        uptime_s = time.monotonic() - router.clock_zero
        return {
            "router": router.config.router.name,
            "version": __version__,
            "uptime_s": round(uptime_s, 3),
            "bindings": router.writer.bound,
            "workers": [
                {"worker": number, "pid": pid} | _ledger(board.read(number), uptime_s)
                for number, pid in sorted((workers.pids() if workers else {}).items())
            ],
            "watched": router.shared.taps.armed,
            "counts_usage": router.usage.on,
            "worker_deaths": workers.deaths if workers else 0,
            "feeds": [follower.state() for follower in router.followers],
            "routing": router.routing.counters(),
            "netlink": dict(router.mirror.counters),
            "pools": [str(pool) for pool in router.pools],
            "tep6": [str(address) for address in router.config.tunnel.tep6],
        }

    async def _bindings(self, params: dict[str, Any]) -> dict[str, Any]:
        offset = _whole(params, "offset", 0, 1 << 32)
        limit = _whole(params, "limit", 100, LIMIT)
        writer = self._router.writer
        slots = writer.bound_slots()
        rows = self._router.shared.tables.bindings.rows_of(slots)
        if params.get("ipv4") is not None:
            wanted = rows["ipv4"] == _ipv4(params["ipv4"])
            slots, rows = slots[wanted], rows[wanted]
        part = slice(offset, offset + limit)
        sources, ends = writer.source_of(slots[part]), writer.ends(slots[part]).tolist()
        psids = self._router.shared.tables.bindings.psids(slots[part]).tolist()
        told = [self._about(*about) for about in zip(rows[part], psids, sources, ends, strict=True)]
        if flag(params, "usage"):
            counts = self._router.usage.of(self._router.shared.tables.bindings.slots[slots[part]])
            for row, count in zip(told, counts.tolist(), strict=True):
                row |= dict(zip(USAGE_FIELDS, count, strict=True))
        return {"total": len(slots), "bindings": told}

    def _about(self, row: np.void, psid: int, source: str, expires: int) -> dict[str, Any]:
        hop = self._router.shared.tables.hops.words[int(row["hop"])]
        offset, length = int(row["psid_offset"]), int(row["psid_len"])
        port_set = {"psid_offset": offset, "psid_len": length, "psid": psid} if length else {}
        return {
            "ipv4": str(address4(row["ipv4"])),
            **port_set,
            "client6": str(address6(row["client6"])),
            "tep6": str(self._router.config.tunnel.tep6[int(row["tep"])]),
            "source": source,
            "expires_in_s": None if expires == FOREVER else expires - self._router.now_s(),
            "hop": self._hop(hop),
        }

    def _hop(self, word: np.uint64) -> str:
        hop = np.array([word]).view(HOP)[0]
        state = HopState(int(hop["state"]))
        if state is not HopState.RESOLVED:
            return state.name.lower()
        port = self._router.config.port[int(hop["port"])].name
        return f"{bytes(hop['mac']).hex(':')} {port}"

    async def _counters(self, _params: dict[str, Any]) -> dict[str, Any]:
        counters = self._router.shared.counters
        return {
            "verdicts": _by_verdict(counters.totals()),
            "workers": [_by_verdict(line) for line in counters.values],
        }

    async def _runtime(self, _params: dict[str, Any]) -> dict[str, Any]:
        runtime = self._router.shared.runtime
        return {
            "workers": [
                {"worker": worker} | _times(runtime.read(worker))
                for worker in range(runtime.workers)
            ]
        }

    async def _ports(self, _params: dict[str, Any]) -> dict[str, Any]:
        router = self._router
        notices = [
            router.shared.noticeboard.read(worker) for worker in range(router.config.router.workers)
        ]
        links = router.routing.port_links()
        return {
            "ports": [
                {
                    "name": port.name,
                    "interface": port.addressed_interface,
                    "vlan": port.vlan,
                    "filter_in": port.filter_in,
                    "filter_out": port.filter_out,
                    "link": _link(links[number]) if number in links else None,
                    "queues": [
                        {"worker": worker, **notice["ports"][number]}
                        for worker, notice in enumerate(notices)
                        if notice
                    ],
                }
                for number, port in enumerate(router.config.port)
            ]
        }


def _by_verdict(counts: npt.NDArray[np.uint64]) -> list[dict[str, Any]]:
    return [
        {
            "name": verdict.name,
            "help": verdict.help,
            "packets": int(counts[0, verdict]),
            "octets": int(counts[1, verdict]),
        }
        for verdict in Verdict
    ]


def _times(line: Line) -> dict[str, Any]:
    """What a worker has measured, all since the router started; see docs/operations.md."""
    return {
        "all_ns": line.all_ns,
        "turns": line.turns,
        "measured_turns": line.measured_turns,
        "timeouts": line.timeouts,
        "steps": [
            {"name": step.name, "help": step.help, "exact": step.exact, "idle": step.idle}
            | dict(zip(("calls", "packets", "ns"), line.steps[step].tolist(), strict=True))
            for step in TurnStep
        ],
    }


def _link(link: Link) -> dict[str, Any]:
    return {"up": link.up, "mtu": link.mtu, "mac": link.mac.hex(":")}


def _ledger(notice: dict[str, Any], uptime_s: float) -> dict[str, Any]:
    """What a worker last told of its frames, and how long ago: one that hangs tells nothing."""
    if not notice:
        return {}
    told = {name: notice[name] for name in ("frames", "pool", "kept", "missing", "engine")}
    told |= {name: notice[name] for name in ("forwarding_after_s", "compiled_after_s")}
    return told | {"heard_s": round(uptime_s - notice["at_s"], 3)}


def _whole(params: dict[str, Any], name: str, default: int, most: int) -> int:
    value = params.get(name, default)
    if not isinstance(value, int) or not 0 <= value <= most:
        raise DstmError(f"{name} = {value!r}: expected a number from 0 to {most}")
    return value


def _ipv4(value: object) -> int:
    try:
        return int(IPv4Address(str(value)))
    except ValueError:
        raise DstmError(f"ipv4 = {value!r}: expected an IPv4 address") from None
