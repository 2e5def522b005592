"""sd_notify(3): tells the service manager that started us how we are, if one did."""

from __future__ import annotations

import os
import socket


def notify(*assignments: str) -> None:
    """Send assignments like `READY=1`; nothing happens without a service manager."""
    address = os.environ.get("NOTIFY_SOCKET", "")
    if not address.startswith(("/", "@")):
        return
    if address.startswith("@"):  # an abstract name, unix(7)
        address = "\0" + address[1:]
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK) as sock:
        try:
            sock.sendto("\n".join(assignments).encode(), address)
        except OSError:  # it has gone or is busy: it can do without
            return
