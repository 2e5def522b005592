"""`dpdk-testpmd` in forward mode `io` between the gateway's two ports: the yardstick.

It moves frames from one port to the other as they are and looks at none of them. Debian's package
`dpdk` has it.
"""

from __future__ import annotations

import contextlib
import shutil
import subprocess
from typing import TYPE_CHECKING, Final

from lab.netns import stop, wait_until
from perf.gateway import CONTROL_CPU, WORKER_CPU

if TYPE_CHECKING:
    from collections.abc import Iterator

    from perf.gateway import Gateway

PROGRAM: Final = "dpdk-testpmd"
DRIVERS: Final = {"afxdp": "net_af_xdp", "packet_mmap": "net_af_packet"}
START_S: Final = 20.0
MEMORY_MB: Final = 512
MBUFS: Final = 32_768


def installed() -> bool:
    """Whether this machine has it."""
    return shutil.which(PROGRAM) is not None


@contextlib.contextmanager
def forwarding(gateway: Gateway, io: str) -> Iterator[int]:
    """Forward with the driver that corresponds to `io` while the block runs; gives its pid."""
    lcores = f"{CONTROL_CPU},{WORKER_CPU}"
    driver = DRIVERS[io]
    vdevs = [f"--vdev={driver}{n},iface={port}" for n, port in enumerate(("port6", "port4"))]
    log = gateway.directory / "testpmd.log"
    with log.open("wb") as output:
        process = gateway.space.popen(
            *("taskset", "-c", lcores, PROGRAM),
            *("--no-huge", "-m", str(MEMORY_MB), "--no-pci", "--no-telemetry"),
            *("--no-shconf", "-l", lcores),  # leaves no files
            *vdevs,
            *("--", "--forward-mode=io", "--auto-start", "--stats-period", "3600"),
            *(f"--total-num-mbufs={MBUFS}", "--no-flush-rx"),
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    try:
        wait_until(
            lambda: process.poll() is not None or "io packet forwarding" in log.read_text(),
            f"start of {PROGRAM}",
            START_S,
        )
        if process.poll() is not None:
            raise ChildProcessError(f"{PROGRAM} ended: {log.read_text()[-2000:]}")
        yield process.pid
    finally:
        stop(process)
        gateway.space.started.remove(process)
