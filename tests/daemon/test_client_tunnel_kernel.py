"""The kernel's tunnel (ip6tnl) under a leasing client, in a kernel that is played.

`tests/daemon/test_client_ip6tnl.py` has a real one, under a client with a static lease; here it is
about what is done, and when.
"""

from __future__ import annotations

import asyncio
import dataclasses
import errno
from typing import TYPE_CHECKING, Any

import pytest

from dstmrouter.config.client import TunnelSection
from dstmrouter.daemon import client_tunnel
from dstmrouter.daemon.client_tunnel import ClientTunnel
from dstmrouter.dti.plan import (
    MARK,
    ChangeAddress,
    ChangeRoute,
    CreateLink,
    DeleteLink,
    Found,
    Link,
    SetLink,
    Step,
)
from dstmrouter.dti.tunnel import Kind
from dstmrouter.errors import DstmError, SystemCallError
from lab.netns import PATIENCE_S
from tests.daemon.client_life import leased
from tests.daemon.test_client_tunnel import OTHER
from tests.dti.conftest import CLIENT6

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine
    from pathlib import Path

    from dstmrouter.dti.tunnel import Tunnel

LEASE = leased()


class Kernel:
    """A `Host` with one interface at most; `done` are the steps so far."""

    tun: int | None = None

    def __init__(self, *, has_ip6tnl: bool = True) -> None:
        self.has_ip6tnl = has_ip6tnl
        self.found = Found(local6=frozenset({CLIENT6}))
        self.done: list[Step] = []
        self.fails_at: type[Step] | None = None

    def close(self) -> None:
        """Nothing to close."""

    def find_link(self, _name: str) -> Link | None:
        return self.found.link

    def look(self, _wanted: Tunnel) -> Found:
        return self.found

    def octets(self, _name: str) -> dict[str, dict[str, int]]:
        return {"in_delivered": {"packets": 7, "octets": 700}}

    def carry_out(self, step: Step) -> None:
        if isinstance(step, CreateLink) and not self.has_ip6tnl:
            raise SystemCallError(str(step), errno.EOPNOTSUPP, "Operation not supported")
        if self.fails_at is not None and isinstance(step, self.fails_at):
            raise SystemCallError(str(step), errno.EPERM, "Operation not permitted")
        self.done.append(step)
        self.found = self._after(step)

    def _after(self, step: Step) -> Found:
        found, link = self.found, self.found.link
        change: dict[str, Any] = {}
        match step:
            case DeleteLink():
                return Found(local6=found.local6)
            case CreateLink():
                made = Link(index=9, kind=step.kind, alias="", mtu=1500, up=False, ends=step.ends)
                change = {"link": made}
            case SetLink() if link is not None:
                change = {"link": dataclasses.replace(link, alias=MARK, mtu=step.mtu, up=True)}
            case ChangeAddress():
                change = {"addresses": found.addresses ^ {step.address}}
            case ChangeRoute():
                change = {"routes": found.routes ^ {step.prefix}}
        return dataclasses.replace(found, **change)


def run(
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    kernel: Kernel,
    scenario: Callable[[ClientTunnel], Coroutine[Any, Any, None]],
    **config: Any,
) -> None:
    monkeypatch.setattr(client_tunnel, "Host", lambda: kernel)

    async def main() -> None:
        section = TunnelSection(**config)
        tunnel = ClientTunnel(section, tmp_path, on_demand=None, on_lost=lambda _: None)
        async with asyncio.timeout(PATIENCE_S), tunnel:
            await scenario(tunnel)

    asyncio.run(main())
    assert kernel.found.link is None
    assert list(tmp_path.iterdir()) == []


def test_it_is_made_changed_in_place_and_removed(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    async def scenario(tunnel: ClientTunnel) -> None:
        await tunnel.set_up(LEASE)
        created = kernel.done[0]
        assert isinstance(created, CreateLink)
        assert created.kind is Kind.IP6TNL
        assert (await tunnel.octets())["in_delivered"]["packets"] == 7
        kernel.done.clear()
        await tunnel.set_up(LEASE)
        assert kernel.done == []
        await tunnel.set_up(OTHER)
        assert not any(isinstance(step, CreateLink) for step in kernel.done)
        assert [address.local for address in kernel.found.addresses] == [OTHER.client4]
        await tunnel.clear()
        assert kernel.found.link is None
        await tunnel.clear()
        await tunnel.set_up(LEASE)

    kernel = Kernel()
    run(monkeypatch, tmp_path, kernel, scenario)


def test_what_fails_halfway_is_removed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Before the interface is marked as ours, it is known by its ends."""

    async def scenario(tunnel: ClientTunnel) -> None:
        for step in (SetLink, ChangeRoute):
            kernel.fails_at = step
            with pytest.raises(DstmError, match="not permitted"):
                await tunnel.set_up(LEASE)
            assert kernel.found.link is None

    kernel = Kernel()
    run(monkeypatch, tmp_path, kernel, scenario)


def test_a_kernel_without_it_is_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    async def scenario(tunnel: ClientTunnel) -> None:
        with pytest.raises(DstmError, match="Operation not supported"):
            await tunnel.set_up(LEASE)

    run(monkeypatch, tmp_path, Kernel(has_ip6tnl=False), scenario, backend="ip6tnl")
