"""The life of a client whose server lends it shares of addresses."""

from __future__ import annotations

import asyncio
import dataclasses
import functools
from typing import TYPE_CHECKING

import pytest

from tests.daemon.client_life import Life, leased, live
from tests.daemon.client_process import MIRROR, Process
from tests.dti.conftest import CLIENT4, TEP4, Wire, wire
from tests.dti.test_natrules import MANY, ONE

if TYPE_CHECKING:
    from pathlib import Path

    from dstmrouter.protocols.granted import GrantedLease, PortSet

__all__ = ["wire"]  # a fixture

SHORT_S = 4
EVENTS = [
    "bind 52",
    "renew 52",
    "release replaced 52",
    "bind 1",
    "release replaced 1",
    "bind",
    "release released",
]

pytestmark = pytest.mark.netns


def nat(wire: Wire) -> tuple[str, str]:
    """The table's number in the kernel, and its comment, which names the port set."""
    tables = wire.client.run("nft", "-a", "list", "tables").strip()
    lines = wire.client.run("nft", "list", "ruleset").splitlines()
    return tables, next((line.strip() for line in lines if "comment" in line), "")


def shared(ports: PortSet | None, lifetime_s: int = SHORT_S) -> GrantedLease:
    return dataclasses.replace(leased(lifetime_s=lifetime_s), port_set=ports)


def hooks(tmp_path: Path) -> dict[str, str]:
    """Hooks that write events, with their reason and PSID, to the file `told`."""
    hook = tmp_path / "hook"
    hook.write_text(f"#!/bin/sh\necho $DSTM_EVENT $DSTM_REASON $DSTM_PSID >>{tmp_path / 'told'}\n")
    hook.chmod(0o755)
    return dict.fromkeys(("bind", "renew", "release"), str(hook))


def test_a_renewal_keeps_the_nat_and_another_set_replaces_it(wire: Wire, tmp_path: Path) -> None:
    mirrored = Process(wire.tep, tmp_path / "gateway", *MIRROR, "--backend", "tun")
    assert mirrored.is_up(), mirrored.said()
    seen: list[tuple[str, str]] = []

    def look_and_lend(had: PortSet, lease: GrantedLease) -> GrantedLease:
        """When the client asks for `lease`, all that the one before changed is done."""
        seen.append(nat(wire))
        assert life.status()["lease"]["port_set"] == str(had)
        assert f'"{had}"' in (life.run_dir / "dti0.json").read_text()
        return lease

    async def scenario(life: Life) -> None:
        await life.until(lambda: (life.status().get("lease") or {}).get("lifetime_s") == 900)
        await life.until_state("BOUND")
        assert nat(wire) == ("", "")
        await asyncio.to_thread(wire.client.run, "ping", "-c", "1", str(TEP4))

    answers = (
        shared(MANY),
        functools.partial(look_and_lend, MANY, shared(MANY)),
        functools.partial(look_and_lend, MANY, shared(ONE)),
        functools.partial(look_and_lend, ONE, shared(None, 900)),
    )
    life = Life(wire, tmp_path, answers)
    live(life, scenario, hooks=hooks(tmp_path))
    first, renewed, replaced = seen
    assert first == renewed != replaced
    assert f"{CLIENT4} {MANY}" in renewed[1]
    assert f"{CLIENT4} {ONE}" in replaced[1]
    assert nat(wire) == ("", "")
    assert (tmp_path / "told").read_text().splitlines() == EVENTS
