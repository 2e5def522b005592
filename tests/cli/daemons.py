"""A router and a server that answer dstmctl with fixed facts, and dstmctl itself."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from dstmrouter.cli.ctl import main
from dstmrouter.errors import LeaseError
from tests.cli.inside import inside

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Mapping

    from dstmrouter.zmqctl import Handler

LEASE: Final = {
    "ipv4": "192.0.2.7",
    "client6": "2001:db8::7",
    "identity": "alice",
    "state": "active",
    "expires_in_s": 900,
    "lease_id": 12,
    "colour": "blue",  # what a later version may add
}


class Daemon:
    """Handlers that note what they were asked."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, dict[str, Any]]] = []
        self.packets = 0

    def handlers(self, *methods: str) -> Mapping[str, Handler]:
        def make(method: str) -> Handler:
            async def handle(params: dict[str, Any]) -> dict[str, Any]:
                self.asked.append((method, params))
                answer: dict[str, Any] = getattr(self, method.replace(".", "_"))(params)
                return answer

            return handle

        return {method: make(method) for method in methods}

    def status(self, _params: dict[str, Any]) -> dict[str, Any]:
        routers = [{"name": "r1", "generation": 5, "heard_s": 1.25}]
        return {"uptime_s": 3725, "epoch": b"\1\2", "healthy": True, "routers": routers}

    def leases(self, _params: dict[str, Any]) -> dict[str, Any]:
        return {"total": 30, "leases": [LEASE]}

    def bindings(self, _params: dict[str, Any]) -> dict[str, Any]:
        row = {"ipv4": "192.0.2.7", "client6": "2001:db8::7", "tep6": "2001:db8:f::1"}
        return {"total": 1, "bindings": [row | {"source": "s1", "expires_in_s": None}]}

    def ports(self, _params: dict[str, Any]) -> dict[str, Any]:
        statistics = {"rx_dropped": 3, "rx_ring_full": 0}
        queue = {"worker": 0, "mode": "native-copy", "statistics": statistics}
        return {"ports": [{"name": "port6", "interface": "eth0", "queues": [queue]}]}

    def counters(self, _params: dict[str, Any]) -> dict[str, Any]:
        self.packets += 1000
        forwarded = {"name": "encapsulated", "help": "sent to a client", "octets": 64000}
        unused = {"name": "hairpin", "help": "turned round", "packets": 0, "octets": 0}
        return {"verdicts": [forwarded | {"packets": self.packets}, unused], "workers": []}

    def lease_grant(self, params: dict[str, Any]) -> dict[str, Any]:
        if params["client6"] == "fe80::1":
            raise LeaseError("bad-client6", "fe80::1: link-local")
        return LEASE

    def lease_renew(self, _params: dict[str, Any]) -> dict[str, Any]:
        return LEASE

    def lease_release(self, _params: dict[str, Any]) -> dict[str, Any]:
        return LEASE | {"state": "quarantine"}


METHODS: Final = (
    "status",
    "leases",
    "bindings",
    "ports",
    "counters",
    "lease.grant",
    "lease.renew",
    "lease.release",
)


def dstmctl(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the program as users do, in a terminal of 200 columns."""
    return inside(main, *arguments)
