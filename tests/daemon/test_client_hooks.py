from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING

import pytest
from structlog.testing import capture_logs

from dstmrouter.config.client import HooksSection
from dstmrouter.daemon.client_hooks import Hooks, variables_of
from dstmrouter.protocols.granted import PortSet
from lab.netns import PATIENCE_S
from tests.protocols.leases import FIRST4, HOME6, OTHER4, lease

if TYPE_CHECKING:
    from pathlib import Path


def script(path: Path, text: str) -> Path:
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return path


def run_all(hooks: Hooks) -> None:
    async def main() -> None:
        running = asyncio.create_task(hooks.run())
        async with asyncio.timeout(PATIENCE_S):
            await hooks.finish()
        running.cancel()
        with suppress(asyncio.CancelledError):
            await running

    asyncio.run(main())


def test_programs_see_the_lease_and_run_in_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DSTM_PASSWORD", "secret")
    out = tmp_path / "out"
    bind = script(tmp_path / "bind", f"env | grep ^DSTM_ | sort >>{out}; echo . >>{out}")
    release = script(tmp_path / "release", f"echo $DSTM_EVENT $DSTM_REASON $DSTM_CLIENT4 >>{out}")
    hooks = Hooks(HooksSection(bind=bind, release=release), "dti0")
    hooks.tell("bind", lease(), server="gw", protocol="tsp", reason=None)
    hooks.tell("renew", lease(), server="gw")  # nobody wants to know
    hooks.tell("release", lease(OTHER4), reason="expired")
    run_all(hooks)
    assert out.read_text().splitlines() == [
        f"DSTM_CLIENT4={FIRST4}",
        f"DSTM_CLIENT6={HOME6}",
        "DSTM_EVENT=bind",
        "DSTM_INTERFACE=dti0",
        "DSTM_LIFETIME=1000",
        "DSTM_PROTOCOL=tsp",
        "DSTM_SERVER=gw",
        "DSTM_TEP4=192.0.2.1",
        "DSTM_TEP6=2001:db8:f::1",
        ".",
        f"release expired {OTHER4}",
    ]


@pytest.mark.parametrize(
    ("text", "said"),
    [("exit 3", "hook failed"), ("exec sleep 1000", "hook killed"), (None, "hook")],
)
def test_a_bad_program_is_logged_and_the_next_runs(
    tmp_path: Path, text: str | None, said: str
) -> None:
    bind = script(tmp_path / "bind", text) if text else tmp_path / "none"
    out = tmp_path / "out"
    renew = script(tmp_path / "renew", f"echo good >{out}")
    hooks = Hooks(HooksSection(bind=bind, renew=renew, timeout_s=3), "dti0")
    hooks.tell("bind", lease())
    hooks.tell("renew", lease())
    with capture_logs() as logs:
        run_all(hooks)
    assert [entry["event"] for entry in logs] == [said]
    assert out.read_text() == "good\n"


def test_a_port_set() -> None:
    shared = lease(port_set=PortSet(psid_offset=0, psid_len=6, psid=1))
    assert variables_of(shared)["DSTM_PSID"] == "1"
    assert "DSTM_PSID" not in variables_of(lease())
