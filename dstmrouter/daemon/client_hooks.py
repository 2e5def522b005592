"""Programs that are run when a lease is there, extended or gone; one at a time, in order."""

from __future__ import annotations

import asyncio
import os
from asyncio.subprocess import DEVNULL
from typing import TYPE_CHECKING, Final

import structlog

if TYPE_CHECKING:
    from pathlib import Path

    from dstmrouter.config.client import HooksSection
    from dstmrouter.protocols.granted import GrantedLease

log = structlog.get_logger(__name__)

KEPT: Final = ("PATH", "LANG", "HOME")  # of our own environment


class Hooks:
    """Takes notes of events and runs their programs, in `run`; `finish` waits until all are run."""

    def __init__(self, config: HooksSection, interface: str) -> None:
        self._config = config
        self._interface = interface
        self._events: asyncio.Queue[tuple[Path, dict[str, str]]] = asyncio.Queue()

    def tell(self, event: str, lease: GrantedLease, **more: str | None) -> None:
        """Note `event`: bind, renew or release; `more` are further variables by lower-case name."""
        program: Path | None = getattr(self._config, event)
        if program is not None:
            variables = variables_of(lease) | {
                "DSTM_EVENT": event,
                "DSTM_INTERFACE": self._interface,
                **{f"DSTM_{name.upper()}": value for name, value in more.items() if value},
            }
            self._events.put_nowait((program, variables))

    async def run(self) -> None:
        """Run programs until cancelled."""
        while True:
            program, variables = await self._events.get()
            try:
                await self._call(program, variables)
            finally:
                self._events.task_done()

    async def finish(self) -> None:
        """Return when every noted event has been told."""
        await self._events.join()

    async def _call(self, program: Path, variables: dict[str, str]) -> None:
        kept = {name: os.environ[name] for name in KEPT if name in os.environ}
        try:
            process = await asyncio.create_subprocess_exec(
                program, stdin=DEVNULL, stdout=None, stderr=None, env=kept | variables
            )
        except OSError as error:
            log.warning("hook", program=str(program), error=error.strerror)
            return
        try:
            async with asyncio.timeout(self._config.timeout_s):
                code = await process.wait()
        except TimeoutError:
            log.warning("hook killed", program=str(program), after_s=self._config.timeout_s)
            code = 0
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
        if code:
            log.warning("hook failed", program=str(program), exit_code=code)


def variables_of(lease: GrantedLease) -> dict[str, str]:
    """The lease, as hooks see it."""
    variables = {
        "DSTM_CLIENT4": str(lease.client4),
        "DSTM_CLIENT6": str(lease.client6),
        "DSTM_TEP4": str(lease.tep4),
        "DSTM_TEP6": str(lease.tep6),
        "DSTM_LIFETIME": str(lease.lifetime_s),
    }
    if lease.port_set is not None:
        variables |= {
            "DSTM_PSID_OFFSET": str(lease.port_set.psid_offset),
            "DSTM_PSID_LEN": str(lease.port_set.psid_len),
            "DSTM_PSID": str(lease.port_set.psid),
        }
    return variables
