"""How dstmctl shows ports to people: a line per queue, and those kernel counters that counted."""

from __future__ import annotations

from typing import Any

_NESTED = ("notes", "held", "statistics")


def queue_rows(ports: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """One row for each queue of each port: who serves it, how, and where its frames are."""
    rows = []
    for port in ports:
        about = {"port": port.get("name"), "link": _link(port), "vlan": port.get("vlan")}
        about |= {key: port[key] for key in ("filter_in", "filter_out") if port.get(key)}
        for queue in port.get("queues") or [{}]:
            plain = {name: value for name, value in queue.items() if name not in _NESTED}
            rows.append(about | plain | queue.get("held", {}))
    return rows


def counter_rows(ports: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The kernel's socket counters that are not 0, one row each."""
    return [
        {"port": port.get("name"), "worker": queue.get("worker"), "counter": name, "count": count}
        for port in ports
        for queue in port.get("queues", ())
        for name, count in queue.get("statistics", {}).items()
        if count
    ]


def _link(port: dict[str, Any]) -> str | None:
    link = port.get("link")
    if not isinstance(link, dict):
        return None
    state = "up" if link.get("up") else "down"
    return f"{state}, mtu {link.get('mtu')}, {link.get('mac')}"
