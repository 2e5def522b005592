from __future__ import annotations

from contextlib import ExitStack, closing
from typing import TYPE_CHECKING

import pytest
import structlog

from dstmrouter.daemon import dti_link
from dstmrouter.daemon.dti_link import (
    AUTO,
    bring_up,
    former_ends,
    kinds_of,
    load_for,
    make_plan,
    remove,
)
from dstmrouter.dti.host import Host
from dstmrouter.dti.plan import Ends
from dstmrouter.dti.state import Claim, State
from dstmrouter.dti.tunnel import Kind, Tunnel
from dstmrouter.errors import DstmError
from tests.dti.conftest import CLIENT4, CLIENT6, STRANGER6, TEP4, TEP6, Wire, wire

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["wire"]  # a fixture

WANTED = Tunnel(client4=CLIENT4, client6=CLIENT6, tep6=TEP6, tep4=TEP4)

pytestmark = pytest.mark.netns


def test_the_claim_says_what_is_made_before_it_is(wire: Wire, tmp_path: Path) -> None:
    with ExitStack() as undo, wire.client.entered():
        claim = Claim(tmp_path, "dti0")
        undo.callback(claim.release)
        host = undo.enter_context(closing(Host()))
        assert former_ends(claim) is None
        kind = bring_up(host, WANTED, AUTO, claim)
        assert "dti0" in wire.client.ip("link")
        found = State.decode((tmp_path / "dti0.json").read_text())
        assert found is not None
        assert (found.kind, found.ends) == (kind, Ends(CLIENT6, TEP6, None, encap_limit=False))
        assert remove(host, "dti0", None) == (kind is Kind.IP6TNL)


@pytest.mark.parametrize(
    ("kinds", "why", "told"),
    [
        (AUTO, None, {"event": "kernel module is loaded"}),
        (AUTO, "none here", {"reason": "none here", "instead": "tun"}),
        ((Kind.IP6TNL,), "none here", {"reason": "none here", "instead": "none"}),
        ((Kind.TUN,), None, {"event": "no kernel module is needed"}),
    ],
)
def test_what_is_told_of_the_kernel_module(
    monkeypatch: pytest.MonkeyPatch,
    kinds: tuple[Kind, ...],
    why: str | None,
    told: dict[str, str],
) -> None:
    monkeypatch.setattr(dti_link, "load_module", lambda: why)
    with structlog.testing.capture_logs() as logs:
        load_for(kinds)
    assert told.items() <= logs[0].items()


def test_only_tun_keeps_packets() -> None:
    assert kinds_of("auto", on_demand=True) == (Kind.TUN,)
    assert kinds_of("ip6tnl", on_demand=False) == (Kind.IP6TNL,)


def test_what_is_in_the_way_is_told_at_once(wire: Wire) -> None:
    wire.client.address("eth0", f"{CLIENT4}/24")
    foreign = Tunnel(client4=CLIENT4, client6=STRANGER6, tep6=TEP6)
    with wire.client.entered(), closing(Host()) as host, pytest.raises(DstmError) as caught:
        make_plan(host, foreign, Kind.TUN, None)
    assert str(caught.value) == (
        f"client6 {STRANGER6} is no address of this host; "
        f"client4 {CLIENT4} is already an address of eth0"
    )
