"""What the demo tries again and again: pings, downloads, counters that grow."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Final

from dstmrouter.errors import ControlError
from dstmrouter.zmqctl import load_keys
from lab.demo_files import secret_key
from lab.netns import LabError, wait_until
from lab.transfer import sha256

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from lab.demo_screen import Screen
    from lab.demo_stage import Stage

START_S: Final = 20.0  # a daemon needs 1 s, several times that on a busy machine
DOWNLOAD_S: Final = 30
PINGS: Final = 3  # of one check


class Checks:
    """Things tried on the stage, with a claim on the screen for each."""

    def __init__(self, screen: Screen, stage: Stage) -> None:
        self._screen = screen
        self._stage = stage

    def wait(self, condition: Callable[[], bool], claim: str) -> None:
        """Claim what becomes true within START_S; a daemon that does not answer may do so yet."""

        def holds() -> bool:
            with contextlib.suppress(ControlError):
                return condition()
            return False

        try:
            wait_until(holds, claim, START_S)
        except LabError:
            self._screen.check(claim, held=False)
        self._screen.check(claim, held=True)

    def public_key(self, daemon: str) -> str:
        """The public key of `router` or `server`, from its key file."""
        secret = secret_key(self._stage.directory, daemon)
        return load_keys(secret).public

    def configure(self, daemon: str, text: str) -> Path:
        """Write the configuration of `router` or `server` and let the daemon check it."""
        file = self._stage.directory / f"{daemon}.toml"
        file.write_text(text)
        said = self._stage.enter(daemon, f"dstm-{daemon}", "check-config", "--config", file)
        self._screen.check(f"{file.name} is good", said.code == 0)
        return file

    @contextlib.contextmanager
    def counted(self, verdict: str, packets: int) -> Iterator[None]:
        """Claim that a counter of the router rises by exactly so much within the block."""
        before = self._stage.count(verdict)
        yield
        risen = self._stage.count(verdict) - before
        self._screen.check(f"the router counted {verdict}: {risen}", risen == packets)

    def ping(self, host: str, target: str, claim: str, *, answered: bool = True) -> None:
        """Send PINGS pings, 10 a second; claim that all or none are answered."""
        limits = ["-c", str(PINGS), "-i", "0.1", "-W", "1" if answered else "0.5"]
        said = self._stage.enter(host, "ping", "-n", "-q", *limits, target)
        expected = PINGS if answered else 0
        self._screen.check(claim, f" {expected} received" in said.text)

    def download(self, host: str, server: str, digest: str) -> None:
        """Fetch the file from a server's address; claim that it came unchanged."""
        path = self._stage.directory / "download"
        path.unlink(missing_ok=True)
        figures = "%{size_download} octets, %{speed_download} octets/s\\n"
        options = ["-sS", "--noproxy", "*", "-m", str(DOWNLOAD_S), "-w", figures]
        said = self._stage.enter(host, "curl", *options, "-o", path, f"http://{server}:8080/file")
        same = said.code == 0 and sha256(path) == digest
        self._screen.check(f"{host} has the file of {server}, sha256 as served", same)
