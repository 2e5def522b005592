"""Names of interfaces, for what people read."""

import socket


def interface_name(ifindex: int) -> str:
    """The name of an interface, or its number when it has gone."""
    try:
        return socket.if_indextoname(ifindex)
    except OSError:
        return f"interface {ifindex}"
