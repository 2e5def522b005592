"""A host with rpcbind and dstm-server, and a client host, joined by a veth pair."""

from __future__ import annotations

import contextlib
import sys
from typing import TYPE_CHECKING, Any, Final

from dstmrouter.io.owner import Owner
from lab.netns import Lab, stop, veth, wait_until
from tests.daemon.rpcbind_process import RpcbindProcess
from tests.daemon.server_process import PROGRAM, ServerProcess

if TYPE_CHECKING:
    import subprocess
    from pathlib import Path

SERVER6: Final = "2001:db8:5::1"
CLIENT6: Final = "2001:db8:5::c"
PORT: Final = 3654
RPC: Final = f'[rpc]\nlisten = ["::"]\nport = {PORT}\nrpcbind = "required"'


class RpcNetwork(Owner):
    """Both hosts; `server` and `client` are their namespaces."""

    def __init__(self) -> None:
        with contextlib.ExitStack() as undo:
            self._lab = undo.enter_context(Lab())
            self.server = self._lab.namespace("server")
            self.client = self._lab.namespace("client")
            veth((self.server, "to-client"), (self.client, "to-server"))
            self.server.address("to-client", f"{SERVER6}/64")
            self.client.address("to-server", f"{CLIENT6}/64")
            self.rpcbind = RpcbindProcess(self.server)
            undo.callback(self.rpcbind.stop)
            self._files = undo.enter_context(ServerProcess(feed=RPC))
            self._log = self._files.home / "log"
            self._process: subprocess.Popen[Any] | None = None
            self._undo = undo.pop_all()

    def close(self) -> None:
        self.kill()
        super().close()

    def start(self) -> None:
        """Start dstm-server where it sees rpcbind's socket; return when it is registered."""
        words: list[str | Path] = [sys.executable, "-c", PROGRAM, "run"]
        words += ["--config", self._files.config]
        with self._log.open("w") as log:
            self._process = self.server.popen(*self.rpcbind.inside(*words), stderr=log)
        wait_until(lambda: "state=registered" in self._log.read_text(), "the registration")

    def stop(self) -> str:
        """End dstm-server in order; its log."""
        assert self._process is not None
        code = stop(self._process)
        self._process = None
        log = self._log.read_text()
        assert code == 0, log
        return log

    def kill(self) -> None:
        """End dstm-server at once."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def registered(self) -> list[str]:
        """The netids of dstm-server in rpcbind."""
        return self.rpcbind.knows(0x2000D573, 1)

    def rpcinfo(self, *arguments: str) -> str:
        """What rpcinfo says on the client host."""
        return self.client.run("rpcinfo", *arguments, check=False)
