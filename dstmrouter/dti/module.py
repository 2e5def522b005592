"""The kernel module of the tunnel, for ENST's option `-load`."""

from __future__ import annotations

import os
import shutil
import subprocess
from typing import Final

PROGRAM: Final = "modprobe"
MODULE: Final = "ip6_tunnel"
SBIN: Final = "/usr/sbin:/sbin"  # not in every PATH
LOAD_S: Final = 30.0


def load_module() -> str | None:
    """Load `ip6_tunnel`, or find that this kernel has it; why it does not, or None."""
    program = shutil.which(PROGRAM, path=f"{os.environ.get('PATH', '')}:{SBIN}")
    if program is None:
        return f"there is no program {PROGRAM} (Debian package kmod)"
    try:
        done = subprocess.run(
            [program, MODULE],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=LOAD_S,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return str(error)
    if done.returncode == 0:
        return None
    return done.stderr.strip().removeprefix("modprobe: ") or f"exit code {done.returncode}"
